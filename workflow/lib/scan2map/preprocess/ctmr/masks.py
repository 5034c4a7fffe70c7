"""Where bone, brain and lesion are on the grid of the MRI, and its intensities relative to the brain."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scan2map.errors import DataError
from scan2map.images import Image

# The scale of an MRI: the darkest hundredth of the brain lies at one end, its median in the middle, so that lesions,
# which are brighter than any tissue, are not cut off: at the 99th percentile they looked like the brightest cortex.
DARK, DARK_LEVEL, MIDDLE_LEVEL = 0.01, -2.0, 0.0
CORNERS = ndimage.generate_binary_structure(3, 3)


def bone_mask(ct: Image, threshold_hu: float, least_volume_ml: float) -> np.ndarray:
    """Voxels of bone: above a threshold, in connected pieces (26 neighbours) of at least a volume.

    Args:
        ct: HU, (x, y, z).
        threshold_hu: CT number from which on a voxel is bone.
        least_volume_ml: smaller pieces are left out.

    Raises:
        DataError: no piece is large enough.
    """
    dense = ct.data >= threshold_hu
    pieces, count = ndimage.label(dense, CORNERS)
    sizes_ml = np.bincount(pieces.ravel(), minlength=count + 1) * np.prod(ct.voxel_size_mm) / 1000
    kept = sizes_ml >= least_volume_ml
    kept[0] = False
    if not kept.any():
        raise DataError(
            "No bone was found in the CT", found=f"{dense.sum()} voxels above {threshold_hu:g} HU in {count} pieces",
            allowed=f"a piece of at least {least_volume_ml:g} ml",
            remedy="look at the CT on the MRI's grid, or lower ctmr.bone.threshold_hu",
        )  # fmt: skip
    return kept[pieces]


def inside_skull(bone: np.ndarray) -> np.ndarray:
    """What the skull encloses in each axial slice: holes of the bone mask, (x, y, z) boolean."""
    filled = np.stack([ndimage.binary_fill_holes(part) for part in np.moveaxis(bone, 2, 0)], axis=2)
    return filled & ~bone


def normalise_in_brain(values: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Intensities on the scale of a CT window: 1st percentile inside the brain at −2, median at 0, clipped at ±2.

    Args:
        values: MRI, (x, y, z).
        brain: mask, same shape.

    Raises:
        DataError: the brain is empty or uniform.
    """
    inside = values[brain]
    low, middle = np.quantile(inside, [DARK, 0.5]) if inside.size else (0.0, 0.0)
    if middle <= low:
        raise DataError(
            "The MRI has no contrast inside the brain", found=f"{inside.size} voxels, {low:g} to {middle:g}",
            remedy="look at the MRI and at the brain mask on its grid",
        )  # fmt: skip
    scaled = DARK_LEVEL + (MIDDLE_LEVEL - DARK_LEVEL) * (values - low) / (middle - low)
    return np.clip(scaled, -2, 2).astype(np.float32)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two masks; 1 where both are empty."""
    total = int(first.sum() + second.sum())
    return 2 * float((first & second).sum()) / total if total else 1.0
