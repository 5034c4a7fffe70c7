"""Summaries of a map over tissues and atlas regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from scan2map.evaluation.long_table import Row

STATISTICS = ("median", "mean", "sd")


def tissue_weights(probability: np.ndarray, *, threshold: float, partial_volume: bool) -> np.ndarray:
    """Weight of each voxel in a tissue's summary.

    Args:
        probability: tissue fraction, 0 to 1.
        threshold: voxels at or above it belong to the tissue.
        partial_volume: weight each voxel by its tissue fraction instead, without a threshold.

    Returns:
        Weights, same shape, float.
    """
    if partial_volume:
        return np.clip(probability, 0, 1).astype(float)
    return (probability >= threshold).astype(float)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value at half of the total weight; the usual median where all weights are equal."""
    if np.ptp(weights) == 0:
        return float(np.median(values))
    return float(np.quantile(values, 0.5, weights=weights, method="inverted_cdf"))


def summarise(values: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Weighted median, mean and standard deviation of the voxels with weight above zero.

    Returns:
        NaN for each statistic where no voxel has weight.
    """
    chosen = weights > 0
    if not chosen.any():
        return dict.fromkeys(STATISTICS, np.nan)
    values, weights = values[chosen].astype(float), weights[chosen]
    mean = np.average(values, weights=weights)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    return {"median": weighted_median(values, weights), "mean": float(mean), "sd": float(spread)}


def region_rows(
    values: np.ndarray, valid: np.ndarray, regions: Mapping[str, np.ndarray], *, metric: str, unit: str
) -> Iterator[Row]:
    """Rows of the long table for one map.

    Args:
        values: the map, shape (x, y, z).
        valid: where the map holds a measurement, same shape.
        regions: weights per region, same shape each.
        metric: name of the map.
        unit: its unit.
    """
    valid = np.asarray(valid, dtype=bool) & np.isfinite(values)
    for name, weights in regions.items():
        inside = np.where(valid, weights, 0.0)
        total = float(weights.sum())
        coverage = float(inside.sum()) / total if total else np.nan
        for statistic, value in summarise(values, inside).items():
            yield Row(name, metric, statistic, value, unit, round(float(inside.sum())), coverage)


def label_regions(labels: np.ndarray, names: Mapping[int, str], *, prefix: str) -> dict[str, np.ndarray]:
    """One region per atlas label, called ``<prefix>:<name>``; labels without a voxel stay, with weight zero."""
    return {f"{prefix}:{name}": (labels == value).astype(float) for value, name in sorted(names.items())}
