"""Confidence intervals over subjects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats


class Interval(NamedTuple):
    """A statistic and its confidence interval; the limits are NaN where one subject gives none."""

    value: float
    low: float
    high: float


AGGREGATIONS = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}


def bootstrap_interval(
    values, *, aggregation: str = "mean", confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> Interval:
    """Percentile bootstrap of an aggregate of independent values (Efron and Tibshirani 1993, chapter 13).

    Args:
        values: one value per subject, shape (n,).
        aggregation: ``mean``, ``median``, ``min`` or ``max``.
        confidence: level of the interval, 0 to 1.
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        The aggregate and its interval; ``min`` and ``max`` have no bootstrap interval and get NaN limits.
    """
    values = np.asarray(values, dtype=float)
    aggregate = AGGREGATIONS[aggregation]
    value = float(aggregate(values))
    if values.size < 2 or aggregation in ("min", "max"):
        return Interval(value, np.nan, np.nan)
    result = stats.bootstrap(
        (values,), aggregate, n_resamples=resamples, confidence_level=confidence, method="percentile",
        rng=np.random.default_rng(seed), vectorized=True,
    )  # fmt: skip
    return Interval(value, float(result.confidence_interval.low), float(result.confidence_interval.high))


def subject_values(table: pd.DataFrame) -> np.ndarray:
    """One value per subject (mean over its sessions): sessions of one subject are not independent."""
    return table.groupby("subject", sort=True)["value"].mean().to_numpy()
