"""Two methods on the same subjects with several trainings each: difference, interval, effect size, p."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats


class Comparison(NamedTuple):
    """A paired difference.

    Attributes:
        difference: mean over subjects and seeds.
        low, high: its interval from resampling subjects and seeds; NaN for a single subject.
        effect_size: Cohen's d of paired values: mean over the standard deviation, of the subjects' means over seeds.
        p: Wilcoxon's signed-rank test over subjects (Wilcoxon 1945), two-sided; NaN for fewer than two subjects.
        subjects, seeds: how many.
    """

    difference: float
    low: float
    high: float
    effect_size: float
    p: float
    subjects: int
    seeds: int


def compare_crossed(differences: np.ndarray, settings: Mapping[str, Any]) -> Comparison:
    """Statistics of differences, one per subject and seed.

    Subjects and seeds are drawn anew independently of each other, as every seed meets every subject (the pigeonhole
    bootstrap; Owen, Ann Appl Stat 1:386, 2007).

    Args:
        differences: (subjects, seeds).
        settings: ``confidence``, ``resamples``, ``seed``.
    """
    subjects, seeds = differences.shape
    mean, each = float(differences.mean()), differences.mean(1)
    if subjects < 2:
        return Comparison(mean, np.nan, np.nan, np.nan, np.nan, subjects, seeds)
    generator = np.random.default_rng(settings["seed"])
    rows = generator.integers(subjects, size=(settings["resamples"], subjects))
    columns = generator.integers(seeds, size=(settings["resamples"], seeds))
    means = differences[rows[:, :, None], columns[:, None, :]].mean((1, 2))
    tail = (1 - settings["confidence"]) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    spread = each.std(ddof=1)
    effect = mean / spread if spread > 0 else np.nan
    p = float(stats.wilcoxon(each).pvalue) if np.any(each) else 1.0
    return Comparison(mean, float(low), float(high), float(effect), p, subjects, seeds)
