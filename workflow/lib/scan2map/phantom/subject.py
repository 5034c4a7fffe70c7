"""The digital subject: everything that is true about one head, on one isotropic RAS grid."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

TISSUES = ("csf", "gm", "wm", "lesion", "skull", "scalp")


@dataclass(frozen=True)
class Compartment:
    """One Gaussian diffusion compartment.

    Attributes:
        name: ``stick``, ``zeppelin``, ``dispersed``, ``gm_slow``, ``gm_fast``, ``free``, ``lesion`` or ``extracranial``.
        tissue: the key of ``DigitalSubject.fractions`` whose relaxation times and proton density it shares.
        fraction: volume fraction of the voxel, (x, y, z); over all compartments the sum is 1 inside the head, 0 in air.
        tensor: diffusion tensor Dxx, Dxy, Dxz, Dyy, Dyz, Dzz in world RAS axes, mm²/s, (x, y, z, 6). May be a
            read-only broadcast view where the compartment is the same everywhere.
    """

    name: str
    tissue: str
    fraction: np.ndarray
    tensor: np.ndarray


@dataclass(frozen=True)
class LesionSpec:
    """A focal lesion.

    Attributes:
        position_mm: centre in template (MNI152) world coordinates, RAS mm.
        radius_mm: mean radius, mm.
        cbf_factor: perfusion inside relative to the healthy tissue.
        att_delay_s: added arterial transit time, s.
        t2_factor: T2 inside relative to the surrounding tissue.
        diffusivity_mm2_s: isotropic diffusivity inside, mm²/s.
        hounsfield_change: added to the CT number, HU.
    """

    position_mm: tuple[float, float, float]
    radius_mm: float
    cbf_factor: float
    att_delay_s: float
    t2_factor: float
    diffusivity_mm2_s: float
    hounsfield_change: float


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
    """Rigid world transform (4x4, RAS mm) from the head as built to the head as it lies in the session.

    Subjects lie within a few millimetres and degrees of the same place after repositioning.
    """
    from scan2map.phantom.deformation import rigid_matrix

    rng = random_generator(seed, subject, session, "pose")
    return rigid_matrix(translation_mm=rng.normal(0, 2.0, 3), rotation_deg=rng.normal(0, 2.0, 3))


def build_subject(subject: str, settings: dict, seed: int) -> DigitalSubject:
    """Build one subject's head. Same subject label, settings and seed: same bytes."""
    from scan2map.phantom import first_version

    return first_version.build(subject, settings, seed)
