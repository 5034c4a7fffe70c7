"""Sessions whose quality figures lie far from those of the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scan2map.reporting.tracing import sources_of

# Median absolute deviation of a normal distribution over its standard deviation.
MAD_OF_NORMAL = 0.6745
FEWEST_SESSIONS = 5


def robust_scores(values: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations (modified z, Iglewicz and Hoaglin 1993).

    NaN where fewer than five values are known or more than half of them are equal.
    """
    values = np.asarray(values, dtype=float)
    known = values[np.isfinite(values)]
    deviation = np.median(np.abs(known - np.median(known))) if known.size >= FEWEST_SESSIONS else 0.0
    if deviation == 0:
        return np.full(values.shape, np.nan)
    return MAD_OF_NORMAL * (values - np.median(known)) / deviation


@dataclass(frozen=True)
class QualityMetric:
    """One quality figure over the study: session to (value, whether it is an outlier, the cell that it comes from)."""

    name: str
    unit: str
    values: Mapping[tuple[str, str], tuple[float, bool, str]]


def quality_metrics(table: pd.DataFrame, words: Mapping[str, str], threshold: float) -> list[QualityMetric]:
    """Mark outliers in the quality tables of all sessions.

    Args:
        table: long table of quality figures.
        words: description of each metric.
        threshold: robust standard deviations from the median.
    """
    metrics = []
    for (metric, statistic), rows in table.groupby(["metric", "statistic"], sort=False):
        far = np.abs(robust_scores(rows["value"].to_numpy())) > threshold
        marked = zip(rows["subject"], rows["session"], rows["value"], far, sources_of(rows), strict=True)
        values = {(subject, session): (value, bool(out), source) for subject, session, value, out, source in marked}
        metrics.append(QualityMetric(words.get(metric, f"{metric} {statistic}"), rows["unit"].iloc[0], values))
    return metrics
