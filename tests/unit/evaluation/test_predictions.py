"""Predicted maps against baseline and truth: closed forms on made-up maps."""

import numpy as np
import pytest

from scan2map.evaluation.predictions import agreement_rows, coverage_rows


def test_limits_of_agreement_of_known_differences():
    second = np.linspace(10, 60, 1001)
    difference = np.tile([1.0, 3.0], 501)[:1001]
    rows = {row.statistic: row for row in agreement_rows(second + difference, second, roi="GM", metric="m", unit="u")}
    spread = 1.96 * np.std(difference)
    assert rows["mean_difference"].value == pytest.approx(difference.mean())
    assert rows["limit_of_agreement_low"].value == pytest.approx(difference.mean() - spread)
    assert rows["limit_of_agreement_high"].value == pytest.approx(difference.mean() + spread)
    assert rows["pearson_r"].value > 0.99
    assert rows["mean_difference"].unit == "u"


def test_coverage_of_normal_errors_is_the_nominal_level():
    error = np.random.default_rng(1).normal(0, 2.0, 200_000)
    rows = {row.statistic: row.value for row in coverage_rows(error, np.full(error.size, 2.0), roi="GM", metric="m")}
    assert rows["coverage_50"] == pytest.approx(0.5, abs=0.005)
    assert rows["coverage_95"] == pytest.approx(0.95, abs=0.005)
    narrow = {row.statistic: row.value for row in coverage_rows(error, np.ones(error.size), roi="GM", metric="m")}
    assert narrow["coverage_95"] < 0.7
