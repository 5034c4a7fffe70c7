"""How well a predicted lesion mask agrees with the expert's: overlap, surfaces, lesions found; empty masks defined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from scan2map.errors import DataError

TOLERANCE_MM = 2.0
# Volume strata, ml: below the first limit, between, and from the last limit on.
STRATA_ML = {"below 1 ml": (0.0, 1.0), "1 to 10 ml": (1.0, 10.0), "10 ml and more": (10.0, np.inf)}
NO_LESION = "no lesion"
NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
FACES = ndimage.generate_binary_structure(3, 1)


def _same_shape(predicted: np.ndarray, expert: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if predicted.shape != expert.shape or predicted.ndim != 3:
        raise DataError(
            "Two masks cannot be compared", found=f"{predicted.shape} and {expert.shape}", allowed="one 3-D"
        )
    return np.asarray(predicted, dtype=bool), np.asarray(expert, dtype=bool)


def dice(predicted: np.ndarray, expert: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 where both masks are empty, 0 where one is."""
    predicted, expert = _same_shape(predicted, expert)
    total = int(predicted.sum()) + int(expert.sum())
    return 2 * float((predicted & expert).sum()) / total if total else 1.0


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask that share a face with a voxel outside it (what lies outside the image is outside)."""
    return mask & ~ndimage.binary_erosion(mask, FACES)


def surface_distances(predicted: np.ndarray, expert: np.ndarray, spacing_mm: Sequence[float]) -> tuple:
    """Distance of every surface voxel of each mask to the surface of the other, mm.

    Returns:
        Distances of the predicted surface, and of the expert's; empty masks have none.

    Raises:
        DataError: exactly one mask is empty: then there is no distance.
    """
    predicted, expert = _same_shape(predicted, expert)
    if predicted.any() != expert.any():
        raise DataError("A mask without voxels has no distance to another", remedy="count such subjects apart")
    edges = surface(predicted), surface(expert)
    if not predicted.any():
        return np.zeros(0), np.zeros(0)
    far = [ndimage.distance_transform_edt(~edge, sampling=spacing_mm) for edge in edges]
    return far[1][edges[0]], far[0][edges[1]]


def surface_dice(predicted, expert, spacing_mm: Sequence[float], tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of both surfaces that lies within a tolerance of the other (normalised surface Dice).

    Args:
        predicted, expert: masks (x, y, z).
        spacing_mm: voxel edges (3,).
        tolerance_mm: deviation that counts as none. Where a voxel is longer than it, only exact agreement along that
            axis counts.

    Returns:
        0 to 1; 1 where both masks are empty, 0 where one is.

    Source: Nikolov et al. 2021, J Med Internet Res 23:e26151, counted in surface voxels as MONAI does.
    """
    if np.any(predicted) != np.any(expert):
        return 0.0
    distances = np.concatenate(surface_distances(predicted, expert, spacing_mm))
    return float((distances <= tolerance_mm).mean()) if distances.size else 1.0


def hausdorff_95(predicted, expert, spacing_mm: Sequence[float]) -> float:
    """The larger of the two directed 95th percentiles of the surface distance, mm.

    Returns:
        0 where both masks are empty; NaN where one is (no distance exists: such subjects are counted apart).
    """
    if np.any(predicted) != np.any(expert):
        return float("nan")
    parts = surface_distances(predicted, expert, spacing_mm)
    return max((float(np.percentile(part, 95)) for part in parts if part.size), default=0.0)


def lesion_counts(predicted: np.ndarray, expert: np.ndarray) -> tuple[int, int, int]:
    """Lesions found, missed and invented: connected pieces (26 neighbours) that touch the other mask, or not."""
    predicted, expert = _same_shape(predicted, expert)

    def touched(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
        pieces, count = ndimage.label(mask, NEIGHBOURS)
        return len(set(pieces[other & mask]) - {0}), count

    found, present = touched(expert, predicted)
    right, claimed = touched(predicted, expert)
    return found, present - found, claimed - right


def lesion_f1(predicted: np.ndarray, expert: np.ndarray) -> float:
    """2 found / (2 found + missed + invented) over whole lesions; 1 where both masks are empty."""
    found, missed, invented = lesion_counts(predicted, expert)
    total = 2 * found + missed + invented
    return 2 * found / total if total else 1.0


def volume_ml(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Volume of a mask, ml."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000)


def stratum(expert: np.ndarray, spacing_mm: Sequence[float]) -> str:
    """Name of the volume stratum of an expert's mask."""
    volume = volume_ml(expert, spacing_mm)
    if volume == 0:
        return NO_LESION
    return next(name for name, (low, high) in STRATA_ML.items() if low <= volume < high)


def lesion_scores(predicted: np.ndarray, expert: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Every score of one subject by name, with its volumes; ``one_empty`` is 1 where only one mask is empty."""
    return {
        "dice": dice(predicted, expert),
        "nsd": surface_dice(predicted, expert, spacing_mm),
        "hd95": hausdorff_95(predicted, expert, spacing_mm),
        "lesion_f1": lesion_f1(predicted, expert),
        "volume": volume_ml(predicted, spacing_mm),
        "expert_volume": volume_ml(expert, spacing_mm),
        "one_empty": float(np.any(predicted) != np.any(expert)),
    }
