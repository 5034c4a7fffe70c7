"""How well a measured map agrees with its reference, voxel by voxel."""

from __future__ import annotations

import numpy as np

from scan2map.errors import DataError


def _paired(measured: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    measured, reference = np.asarray(measured, dtype=float).ravel(), np.asarray(reference, dtype=float).ravel()
    if measured.shape != reference.shape or measured.size == 0:
        raise DataError(
            "Two maps cannot be compared",
            found=f"{measured.size} and {reference.size} voxels",
            allowed="the same number, at least one",
            remedy="check the brain mask and the tissue maps of this session",
        )
    return measured, reference


def mean_absolute_error(measured: np.ndarray, reference: np.ndarray) -> float:
    """Mean of abs(measured - reference), in the unit of the maps."""
    measured, reference = _paired(measured, reference)
    return float(np.mean(np.abs(measured - reference)))


def root_mean_square_error(measured: np.ndarray, reference: np.ndarray) -> float:
    """Root of the mean of (measured - reference)², in the unit of the maps."""
    measured, reference = _paired(measured, reference)
    return float(np.sqrt(np.mean((measured - reference) ** 2)))


def bias(measured: np.ndarray, reference: np.ndarray) -> float:
    """Mean of measured - reference, in the unit of the maps; above zero where the measurement is too high."""
    measured, reference = _paired(measured, reference)
    return float(np.mean(measured - reference))


def median_relative_error(measured: np.ndarray, reference: np.ndarray) -> float:
    """Median of abs(measured - reference) / abs(reference) over voxels whose reference is not zero; a ratio."""
    measured, reference = _paired(measured, reference)
    valid = reference != 0
    if not valid.any():
        raise DataError("A relative error needs a reference that is not zero everywhere", found="all zero")
    return float(np.median(np.abs(measured[valid] - reference[valid]) / np.abs(reference[valid])))


def pearson_r(measured: np.ndarray, reference: np.ndarray) -> float:
    """Pearson's correlation coefficient, -1 to 1.

    Raises:
        DataError: one of the maps is constant, so that it correlates with nothing.
    """
    measured, reference = _paired(measured, reference)
    if np.ptp(measured) == 0 or np.ptp(reference) == 0:
        raise DataError("A constant map correlates with nothing", found="the same value in every voxel")
    return float(np.corrcoef(measured, reference)[0, 1])


def concordance(measured: np.ndarray, reference: np.ndarray) -> float:
    """Lin's concordance correlation coefficient, -1 to 1: correlation that also counts shift and scale.

    2·cov(x, y) / (var(x) + var(y) + (mean(x) − mean(y))²). Lin, Biometrics 1989;45:255-268.

    Raises:
        DataError: both maps are constant and equal, so that there is nothing to agree on.
    """
    x, y = _paired(measured, reference)
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    if spread == 0:
        raise DataError("A constant map agrees with nothing", found="the same value in every voxel")
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / spread)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice overlap of two masks, 0 to 1; two empty masks agree (1). Dice, Ecology 1945;26:297-302."""
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    total = first.sum() + second.sum()
    return 1.0 if total == 0 else float(2 * (first & second).sum() / total)
