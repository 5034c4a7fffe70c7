"""The ICBM152 2009a tissue maps that nilearn ships, made ready for a single head."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

# Group-average maps are blurred by residual anatomical variability; squaring and renormalising the three
# probabilities brings cortical grey matter back near one, as it is in a single brain.
SHARPENING = 2.0
# Sulci are narrower than the average's blur, which leaves them too little CSF; this prior weight brings the share of
# the intracranial volume to the sixth or so that young adults have.
CSF_WEIGHT = 2.5
# Between ventricle and white matter an intensity classifier finds a film of "grey matter" (partial volume).
# Points along the right lateral ventricle: frontal horn, body, atrium (MNI152 mm); the left one mirrors it.
LATERAL_VENTRICLE_MM = ((6, 26, 4), (9, 8, 16), (14, -15, 22), (20, -32, 19), (27, -44, 8))
VENTRICLE_RADIUS_MM = 11.0
FILM_REACH_MM = 4.0
FILM_THICKNESS_MM = 5


class Template(NamedTuple):
    """Tissue fractions of the template brain at 1 mm (float32, cropped to the brain) and their affine (RAS+ mm)."""

    csf: np.ndarray
    gm: np.ndarray
    wm: np.ndarray
    affine: np.ndarray


def _crop(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in found)


def _sharpen(maps: list[np.ndarray], brain: np.ndarray) -> list[np.ndarray]:
    """Square the probabilities (CSF, GM, WM), weight CSF and renormalise inside the brain."""
    powers = [w * np.clip(m, 0, 1) ** SHARPENING for w, m in zip((CSF_WEIGHT, 1, 1), maps, strict=True)]
    total = np.maximum(sum(powers), 1e-6)
    return [np.where(brain, p / total, 0).astype(np.float32) for p in powers]


def _lateral_ventricles(csf: np.ndarray, affine: np.ndarray) -> np.ndarray:
    centre_line = np.array(LATERAL_VENTRICLE_MM, float)
    spacing = np.linspace(0, len(centre_line) - 1, 40)
    right = np.stack([np.interp(spacing, range(len(centre_line)), centre_line[:, a]) for a in range(3)], axis=1)
    both = np.concatenate([right, right * (-1, 1, 1)])
    found = np.argwhere(csf > 0.5)
    distance, _ = cKDTree(both).query(found + affine[:3, 3], distance_upper_bound=VENTRICLE_RADIUS_MM)
    ventricles = np.zeros(csf.shape, bool)
    ventricles[tuple(found[np.isfinite(distance)].T)] = True
    return ventricles


def _remove_ventricle_film(csf, gm, wm, affine):
    """Give the film of grey matter that lines the lateral ventricles back to the white matter behind it."""
    ventricles = _lateral_ventricles(csf, affine)
    box = _crop(ventricles, margin=10)
    near = ndimage.distance_transform_edt(~ventricles[box]) < FILM_REACH_MM
    film = np.where(near, gm[box] - ndimage.grey_opening(gm[box], size=(FILM_THICKNESS_MM,) * 3), 0)
    gm, wm = gm.copy(), wm.copy()
    gm[box] -= film
    wm[box] += film
    return csf, gm, wm


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the maps from the nilearn package (no network), crop, complete with CSF and sharpen.

    CSF is what the brain mask holds beside grey and white matter.

    Source:
        Fonov V et al. (2011), Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54:313-327.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    t1_image = load_mni152_template(resolution=1)
    brain = np.asarray(t1_image.dataobj) > 0
    box = _crop(brain, margin=4)
    brain = brain[box]
    gm, wm = (
        np.asarray(load(resolution=1).dataobj, np.float32)[box]
        for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    csf, gm, wm = _sharpen([brain - gm - wm, gm, wm], brain)
    affine = t1_image.affine.copy()
    affine[:3, 3] += [s.start for s in box]
    csf, gm, wm = _remove_ventricle_film(csf, gm, wm, affine)
    return Template(csf, gm, wm, affine)
