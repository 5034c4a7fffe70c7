"""Do probabilities and intervals mean what they say?"""

from __future__ import annotations

import numpy as np

from scan2map.errors import DataError

BINS = 15


def balanced_weights(truth: np.ndarray) -> np.ndarray:
    """Weights that give foreground and background the same total, summing to 1; equal weights where one is missing."""
    truth = np.asarray(truth, dtype=bool).ravel()
    counts = np.array([(~truth).sum(), truth.sum()])
    if not counts.all():
        return np.full(truth.size, 1 / truth.size)
    return (0.5 / counts)[truth.astype(int)]


def _checked(probability, truth, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probability, truth = np.asarray(probability, dtype=float).ravel(), np.asarray(truth, dtype=float).ravel()
    if probability.size != truth.size or not probability.size or probability.min() < 0 or probability.max() > 1:
        raise DataError(
            "These are not probabilities of a truth", found=f"{probability.size} and {truth.size} voxels",
            allowed="as many of each, at least one, probabilities from 0 to 1",
        )  # fmt: skip
    weights = np.full(truth.size, 1 / truth.size) if weights is None else np.asarray(weights, dtype=float).ravel()
    return probability, truth, weights / weights.sum()


def expected_calibration_error(probability, truth, weights=None, bins: int = BINS) -> float:
    """Mean over equal bins of |mean probability − share of the foreground|, weighted by what is in each bin.

    Args:
        probability: of the foreground, any shape.
        truth: 0 or 1, same shape.
        weights: of each voxel; equal if None.
        bins: number of bins of probability; the last holds 1.

    Source: Naeini et al. 2015, AAAI, with the probability of the foreground instead of the winner's.
    """
    probability, truth, weights = _checked(probability, truth, weights)
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights * (probability - truth), minlength=bins)
    return float(np.abs(gaps).sum())


def brier_score(probability, truth, weights=None) -> float:
    """Mean squared difference of probability and truth (Brier 1950)."""
    probability, truth, weights = _checked(probability, truth, weights)
    return float((weights * (probability - truth) ** 2).sum())


def base_rate_brier(truth, weights=None) -> float:
    """Brier score of one who always says the share of the foreground: p (1 − p)."""
    truth, _, weights = _checked(truth, truth, weights)
    share = float((weights * truth).sum())
    return share * (1 - share)


def coverage(error: np.ndarray, standard_deviation: np.ndarray, level: float) -> float:
    """Share of errors inside the central normal interval of a level.

    Args:
        error: estimate − truth.
        standard_deviation: of the estimate, same shape.
        level: 0 to 1, e.g. 0.9.
    """
    from scipy.stats import norm

    return float((np.abs(error) <= norm.ppf(0.5 + level / 2) * np.asarray(standard_deviation)).mean())
