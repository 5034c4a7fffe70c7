"""Bland and Altman's comparison of two measurements of the same voxels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.evaluation.agreement import concordance

LIMITS = 1.96  # standard deviations around the mean that hold 95 % of the differences


class BlandAltman(NamedTuple):
    """Agreement of an estimate with its reference.

    Attributes:
        bias: mean of estimate − reference.
        low, high: limits of agreement, bias ∓ 1.96 standard deviations.
        slope, intercept: regression of the difference on the mean of the two.
        ccc: Lin's concordance correlation coefficient.
        voxels: how many were compared.
    """

    bias: float
    low: float
    high: float
    slope: float
    intercept: float
    ccc: float
    voxels: int


def bland_altman(estimate: np.ndarray, reference: np.ndarray) -> BlandAltman:
    """Bias, limits of agreement, regression line and concordance. Bland and Altman, Lancet 1986;327:307-310.

    Args:
        estimate, reference: values of the same voxels, shape (n,).
    """
    difference, mean = estimate - reference, (estimate + reference) / 2
    bias, spread = float(difference.mean()), LIMITS * float(difference.std(ddof=1))
    slope, intercept = np.polyfit(mean, difference, 1)
    ccc = concordance(estimate, reference)
    return BlandAltman(bias, bias - spread, bias + spread, float(slope), float(intercept), ccc, len(difference))
