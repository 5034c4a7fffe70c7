"""Differences over subjects and seeds, and Bland and Altman's figures, against closed forms."""

import numpy as np
import pytest

from scan2map.evaluation.bland_altman import bland_altman
from scan2map.evaluation.crossed import compare_crossed

BOOTSTRAP = {"confidence": 0.95, "resamples": 4000, "seed": 1}


def test_crossed_interval_has_the_width_of_both_variances():
    """Independent subject and seed effects: variance of the mean is var/n + var/m."""
    generator = np.random.default_rng(2)
    subjects, seeds = generator.standard_normal(40), 0.5 * generator.standard_normal(30)
    found = compare_crossed(3 + subjects[:, None] + seeds[None], BOOTSTRAP)
    half = 1.96 * np.sqrt(subjects.var() / 40 + seeds.var() / 30)
    assert found.difference == pytest.approx(3 + subjects.mean() + seeds.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.p < 1e-4
    assert (found.subjects, found.seeds) == (40, 30)


def test_effect_size_is_mean_over_spread_of_subjects():
    found = compare_crossed(np.array([[1.0], [2.0], [3.0]]), BOOTSTRAP)
    assert found.effect_size == pytest.approx(2.0)
    assert compare_crossed(np.zeros((3, 2)), BOOTSTRAP).p == 1.0
    assert np.isnan(compare_crossed(np.ones((1, 2)), BOOTSTRAP).low)


def test_bland_altman_of_a_known_line():
    reference = np.linspace(10, 90, 200)
    estimate = 1.1 * reference + 2
    found = bland_altman(estimate, reference)
    assert found.bias == pytest.approx(7.0)
    assert found.slope == pytest.approx(0.1 / 1.05)
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.1 * reference).std(ddof=1))
    assert found.slope * (estimate[0] + reference[0]) / 2 + found.intercept == pytest.approx(estimate[0] - reference[0])
