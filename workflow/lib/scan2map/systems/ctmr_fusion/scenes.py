"""Scans of digital heads with lesions: FLAIR, CT that may lie beside its place, masks, and the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from scan2map.phantom import tissue
from scan2map.physics.relaxation import inversion_recovery_spin_echo
from scan2map.preprocess.ctmr.hounsfield import AIR_HU, BONE_WINDOW, apply_window
from scan2map.preprocess.ctmr.masks import normalise_in_brain
from scan2map.preprocess.registration import rigid_matrix
from scan2map.systems.ctmr_fusion.cohort import TISSUES, Head
from scan2map.systems.ctmr_fusion.composite import average, composite

TIMING_S = (9.0, 2.5, 0.12)  # repetition, inversion, echo time of the phantom's FLAIR
# Lesions as in the APIS challenge: median 2.2 ml, 0.01 to 58 ml; some subjects have none, some more than one.
MEDIAN_ML, LOG_SD, LIMITS_ML = 2.2, 1.6, (0.01, 58.0)
# So few of them are large that a share of the lesions is drawn evenly over the logarithm of the volume, from 1 ml on.
EVEN_SHARE, EVEN_FROM_ML = 0.5, 1.0
COUNTS = (0.2, 0.55, 0.25)  # probability of no, one and two lesions
T1_FACTOR, T2_FACTOR, HU_CHANGE = (1.1, 1.3), (1.3, 1.9), (-12.0, -3.0)
ELONGATION_SD, UNDULATION, UNDULATION_VOXELS = 0.2, 0.15, 3.0
BONE_HU = 300.0
BIAS_SD = 0.05


class Scene(NamedTuple):
    """One scan, arrays (x, y, z).

    Attributes:
        mri: FLAIR, −2 to 2 inside the brain.
        ct: HU, as registered (with jitter, if any).
        true_ct: HU where it belongs.
        brain, bone: masks; bone from the CT as registered.
        lesion: the expert's mask.
        voxel_mm: edges of a voxel (3,).
    """

    mri: np.ndarray
    ct: np.ndarray
    true_ct: np.ndarray
    brain: np.ndarray
    bone: np.ndarray
    lesion: np.ndarray
    voxel_mm: np.ndarray

    def target(self, kind: str) -> np.ndarray:
        """The fused image to learn: ``composite`` (of the CT where it belongs), or the document's ``average``."""
        bone_ct = apply_window(self.true_ct, BONE_WINDOW)
        if kind == "average":
            return average(self.mri, bone_ct)
        return composite(self.mri, bone_ct, self.true_ct >= BONE_HU, self.brain, self.lesion)


def draw_volume_ml(rng: np.random.Generator) -> float:
    """Volume of one lesion, ml."""
    if rng.uniform() < EVEN_SHARE:
        return float(np.exp(rng.uniform(np.log(EVEN_FROM_ML), np.log(LIMITS_ML[1]))))
    return float(np.clip(MEDIAN_ML * np.exp(LOG_SD * rng.standard_normal()), *LIMITS_ML))


def lesion_share(head: Head, volume_ml: float, rng: np.random.Generator) -> np.ndarray:
    """Share of each voxel inside one uneven ellipsoid of a volume, centred in grey or white matter."""
    tissue_share = head.fractions[1] + head.fractions[2]
    places = np.argwhere(tissue_share > 0.8)
    centre = (places[rng.integers(len(places))] + rng.uniform(-0.5, 0.5, 3)) * head.voxel_mm
    stretch = np.exp(ELONGATION_SD * rng.standard_normal(3))
    radius = (3 * volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    axes = radius * stretch / np.prod(stretch) ** (1 / 3)
    places_mm = (np.arange(count) * edge for count, edge in zip(tissue_share.shape, head.voxel_mm, strict=True))
    along = [((place - at) / axis).astype(np.float32) for place, at, axis in zip(places_mm, centre, axes, strict=True)]
    distance = np.sqrt(sum(part**2 for part in np.ix_(*along)))
    uneven = ndimage.gaussian_filter(rng.standard_normal(tissue_share.shape), UNDULATION_VOXELS)
    edge = 1 + UNDULATION * np.clip(uneven / uneven.std(), -2, 2)
    softness = head.voxel_mm[0] / radius
    return np.clip(0.5 + (edge - distance) / softness, 0, 1).astype(np.float32)


def flair_signal(t1_s: float, t2_s: float, density: float) -> float:
    """FLAIR signal of a tissue, relative to its proton density in full."""
    return abs(float(inversion_recovery_spin_echo(density, np.float64(t1_s), np.float64(t2_s), *TIMING_S)))


FLAIR = {name: flair_signal(tissue.T1_S[name], tissue.T2_S[name], tissue.PROTON_DENSITY[name]) for name in TISSUES}


def _sum_of(values: Mapping[str, float], fractions: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Sum of fraction times value over some tissues."""
    return sum(np.float32(values[name]) * fractions[TISSUES.index(name)] for name in names)


def _lesion_flair(rng: np.random.Generator) -> float:
    mean_t1, mean_t2 = ((table["gm"] + table["wm"]) / 2 for table in (tissue.T1_S, tissue.T2_S))
    density = tissue.PROTON_DENSITY["lesion"]
    return flair_signal(rng.uniform(*T1_FACTOR) * mean_t1, rng.uniform(*T2_FACTOR) * mean_t2, density)


def _bias(shape, rng: np.random.Generator) -> np.ndarray:
    """Smooth sensitivity left over in the MRI."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return np.exp(sum(BIAS_SD * rng.standard_normal() * axis for axis in axes)).astype(np.float32)


def draw_jitter(settings: Mapping[str, Any], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A registration error: shift (mm) and turn (rad), uniform within ± the settings along and about every axis.

    It is drawn in the share of the scans that the settings name, and is zero in the others.
    """
    if rng.uniform() >= settings["share"]:
        return np.zeros(3), np.zeros(3)
    shift = rng.uniform(-1, 1, 3) * settings["shift_mm"]
    return shift, np.radians(rng.uniform(-1, 1, 3) * settings["turn_deg"])


def moved(values: np.ndarray, voxel_mm: np.ndarray, shift_mm, turn_rad, outside: float) -> np.ndarray:
    """A volume after a rigid motion about its middle, linear interpolation."""
    middle = voxel_mm * (np.array(values.shape) - 1) / 2
    matrix = np.linalg.inv(rigid_matrix(shift_mm, turn_rad, middle))
    inner = matrix[:3, :3] * voxel_mm / voxel_mm[:, None]
    return ndimage.affine_transform(values, inner, matrix[:3, 3] / voxel_mm, order=1, cval=outside)


def draw_scene(
    head: Head, settings: Mapping[str, Any], rng: np.random.Generator, volumes_ml: Sequence[float] | None = None
) -> Scene:
    """One scan of a head.

    Args:
        head: without lesion.
        settings: block ``simulation``: ``snr``, ``noise_hu``, ``jitter``.
        rng: decides everything else.
        volumes_ml: of its lesions; drawn if None.
    """
    if volumes_ml is None:
        volumes_ml = [draw_volume_ml(rng) for _ in range(rng.choice(len(COUNTS), p=COUNTS))]
    fractions, mri, ct = head.fractions, _sum_of(FLAIR, head.fractions, TISSUES), head.hounsfield
    matter, lesion = fractions[1] + fractions[2], np.zeros_like(mri)
    for volume in volumes_ml:
        share = lesion_share(head, volume, rng) * (1 - lesion)
        replaced = share * matter
        mri = mri - share * _sum_of(FLAIR, fractions, ("gm", "wm")) + replaced * np.float32(_lesion_flair(rng))
        dense = tissue.HOUNSFIELD["lesion"] + rng.uniform(*HU_CHANGE)
        ct = ct - share * _sum_of(tissue.HOUNSFIELD, fractions, ("gm", "wm")) + replaced * np.float32(dense)
        lesion = lesion + replaced
    return _scanned(head, mri, ct, lesion > 0.5, settings, rng)


def _scanned(head: Head, mri, ct, lesion, settings: Mapping[str, Any], rng: np.random.Generator) -> Scene:
    white = mri[head.fractions[2] > 0.8].mean()
    noisy = mri * _bias(mri.shape, rng) + white / settings["snr"] * rng.standard_normal(mri.shape, dtype=np.float32)
    true_ct = ct + np.float32(settings["noise_hu"]) * rng.standard_normal(ct.shape, dtype=np.float32)
    shift, turn = draw_jitter(settings["jitter"], rng)
    seen = moved(true_ct, head.voxel_mm, shift, turn, AIR_HU) if shift.any() or turn.any() else true_ct
    scaled = normalise_in_brain(np.abs(noisy), head.brain)
    brain = head.brain & (true_ct < BONE_HU)
    return Scene(scaled, seen, true_ct, brain, seen >= BONE_HU, lesion, head.voxel_mm)
