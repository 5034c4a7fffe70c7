"""Bringing images of one session onto one grid before their voxels are compared."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scan2map.images import Image
from scan2map.preprocess.registration import Transform, apply_transform


def same_grid(first: Image, second: Image, *, tolerance_mm: float = 1e-2) -> bool:
    """Whether two images share shape and affine (to the tolerance)."""
    return first.data.shape[:3] == second.data.shape[:3] and np.allclose(first.affine, second.affine, atol=tolerance_mm)


def on_grid(image: Image, reference: Image, *, interpolation: str = "linear") -> Image:
    """The image at the voxel centres of a reference that shares its world space; itself where the grids agree.

    Args:
        image: shape (x, y, z).
        reference: gives shape and affine.
        interpolation: as in :func:`scan2map.preprocess.registration.apply_transform`.
    """
    if same_grid(image, reference):
        return image
    return apply_transform(image, reference, Transform(), interpolation)


def interior(mask: np.ndarray, voxels: int) -> np.ndarray:
    """The mask without its outermost voxels: where an image edge does not decide a correlation."""
    mask = np.asarray(mask, dtype=bool)
    if voxels == 0:
        return mask
    return ndimage.binary_erosion(mask, iterations=voxels)
