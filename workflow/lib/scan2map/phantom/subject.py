"""The digital subject: everything that is true about one head, on one isotropic RAS grid."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from scan2map.config import check_block
from scan2map.errors import SettingError
from scan2map.phantom import tissue
from scan2map.phantom.anatomy import Head, build_head, subject_grid
from scan2map.phantom.deformation import draw_warp, rigid_matrix
from scan2map.phantom.fibres import FibreField, build_fibres
from scan2map.phantom.field import LATTICE_MM, build_field
from scan2map.phantom.lesion import change_perfusion, draw_lesion, lesion_share, replace_tissue
from scan2map.phantom.perfusion import build_perfusion, mixed_voxel
from scan2map.phantom.records import Compartment, LesionSpec

__all__ = ["Compartment", "DigitalSubject", "LesionSpec", "build_subject", "pose"]

# Repositioning between sessions: a few millimetres and degrees.
POSE_TRANSLATION_SD_MM, POSE_ROTATION_SD_DEG = 2.0, 2.0
# Between-subject spread of skull thickness (standard deviation of its logarithm).
SKULL_LOG_SD = 0.12
TISSUES = ("csf", "gm", "wm", "lesion", "skull", "scalp")


@dataclass(frozen=True)
class DigitalSubject:
    """Everything true about one head; arrays are float32 (x, y, z) on one isotropic RAS grid.

    Attributes:
        affine: voxel to world, RAS+ mm, 4x4.
        fractions: volume fractions by tissue (``TISSUES``); the sum is at most 1, the rest is air.
        proton_density: relative to water = 1, partial volume included.
        t1_s, t2_s, t2star_s, pd: relaxation times (s) and relative proton density by tissue, at 3 T.
        hounsfield: CT number, HU.
        fibre_direction: (x, y, z, 3) unit vector in world RAS axes, sign-free, smooth in white matter.
        fibre_fraction: coherent intra-axonal (stick) fraction of white matter, 0 to 0.7.
        axon_fraction: intra-axonal fraction of white matter, coherent or not.
        compartment_list: the Gaussian diffusion compartments; read them through ``compartments``.
        cbf_ml_100g_min: perfusion, ml/100g/min.
        att_s: arterial transit time, s; 0 outside the brain.
        field_hz: off-resonance from susceptibility at 3 T after shimming, Hz.
        territories: vascular territory labels, int16, 0 outside the brain (``perfusion.TERRITORIES``).
        lesion: the lesion that was put in, or None.
    """

    affine: np.ndarray
    fractions: dict[str, np.ndarray]
    proton_density: np.ndarray
    t1_s: dict[str, float]
    t2_s: dict[str, float]
    t2star_s: dict[str, float]
    pd: dict[str, float]
    hounsfield: np.ndarray
    fibre_direction: np.ndarray
    fibre_fraction: np.ndarray
    axon_fraction: np.ndarray
    cbf_ml_100g_min: np.ndarray
    att_s: np.ndarray
    field_hz: np.ndarray
    territories: np.ndarray
    lesion: LesionSpec | None
    compartment_list: list[Compartment] = field(repr=False, default_factory=list)

    def compartments(self) -> list[Compartment]:
        """The Gaussian compartments: signal = sum of fraction · exp(-b gᵀDg); first cumulant = sum of fraction · D."""
        return self.compartment_list

    @property
    def brain(self) -> np.ndarray:
        """Volume fraction of everything inside the skull (CSF, GM, WM, lesion)."""
        return sum(self.fractions[name] for name in ("csf", "gm", "wm", "lesion"))


def random_generator(seed: int, *labels: str) -> np.random.Generator:
    """A generator that depends on the seed and the labels (subject, session, purpose) alone."""
    return np.random.default_rng([seed, *(zlib.crc32(label.encode()) for label in labels)])


def pose(subject: str, session: str, seed: int) -> np.ndarray:
    """Rigid world transform (4x4, RAS mm) from the head as built to the head as it lies in the session."""
    rng = random_generator(seed, subject, session, "pose")
    return rigid_matrix(rng.normal(0, POSE_TRANSLATION_SD_MM, 3), rng.normal(0, POSE_ROTATION_SD_DEG, 3))


def build_subject(subject: str, settings: dict, seed: int) -> DigitalSubject:
    """Build one subject's head.

    The anatomy, the perfusion and the field depend on the subject's label and the seed, not on the voxel size. Same
    label, settings and seed: same bytes.

    Args:
        subject: label without prefix.
        settings: the block ``phantom_subject``; keys left out take their defaults.
        seed: the study's seed.

    Raises:
        SettingError: a setting is not valid, the deformation folds space, or the lesion misses the brain.
    """
    settings = check_block("phantom_subject", settings)
    draw = partial(random_generator, seed, subject)
    grid = subject_grid(settings["voxel_size_mm"])
    warp = draw_warp(subject_grid(LATTICE_MM), settings["deformation"], draw("deformation"))
    skull_scale = float(np.exp(SKULL_LOG_SD * np.clip(draw("skull").standard_normal(), -2, 2)))
    head = build_head(grid, warp, skull_scale)
    gm, wm = head.fractions["gm"], head.fractions["wm"]
    perfusion = build_perfusion(grid, warp.lattice, head.points, gm, wm, settings["perfusion"], draw("perfusion"))
    fibres = build_fibres(grid, warp, head.points, gm + wm > 0, settings["fibres"], draw("fibres"))
    healthy = _Healthy(head, fibres, *mixed_voxel(perfusion, gm, wm))
    lesion = draw_lesion(settings["lesion"], draw("lesion"))
    return _assemble(
        _with_lesion(healthy, lesion, grid, warp, draw("lesion surface")),
        affine=grid.affine,
        field_hz=build_field(grid, warp, skull_scale, settings["field_max_hz"]),
        territories=perfusion.territories,
        lesion=lesion,
    )


class _Healthy(NamedTuple):
    head: Head
    fibres: FibreField
    cbf_ml_100g_min: np.ndarray
    att_s: np.ndarray


def _with_lesion(healthy: _Healthy, lesion: LesionSpec | None, grid, warp, rng) -> _Healthy:
    if lesion is None:
        return healthy
    core, penumbra = lesion_share(lesion, grid, warp, rng)
    fractions = replace_tissue(healthy.head.fractions, core)
    if not fractions["lesion"].any():
        raise SettingError(
            "The phantom's lesion misses the brain",
            found=f"centre {lesion.position_mm} mm, radius {lesion.radius_mm:.1f} mm",
            allowed="a place in grey or white matter (MNI152, RAS mm)",
            remedy="change phantom_subject.lesion.position_mm",
        )
    cbf, att_s = change_perfusion(healthy.cbf_ml_100g_min, healthy.att_s, core, penumbra, lesion)
    return _Healthy(healthy.head._replace(fractions=fractions), healthy.fibres, cbf, att_s)


def _assemble(parts: _Healthy, lesion: LesionSpec | None, **more) -> DigitalSubject:
    fractions, fibres = parts.head.fractions, parts.fibres
    t1_s, t2_s, t2star_s = tissue.relaxation_times(lesion)
    ct = tissue.hounsfield(fractions, parts.head.skull_depth)
    if lesion is not None:
        ct = ct + np.float32(lesion.hounsfield_change) * fractions["lesion"]
    return DigitalSubject(
        fractions=fractions,
        proton_density=tissue.weighted_sum(fractions, tissue.PROTON_DENSITY),
        t1_s=t1_s,
        t2_s=t2_s,
        t2star_s=t2star_s,
        pd=dict(tissue.PROTON_DENSITY),
        hounsfield=ct,
        fibre_direction=fibres.direction,
        fibre_fraction=fibres.axon_fraction * fibres.coherence * (fractions["wm"] > 0),
        axon_fraction=fibres.axon_fraction,
        cbf_ml_100g_min=parts.cbf_ml_100g_min,
        att_s=parts.att_s,
        lesion=lesion,
        compartment_list=tissue.diffusion_compartments(fractions, fibres, lesion),
        **more,
    )
