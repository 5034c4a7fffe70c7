"""Predicted maps against baseline and truth: closed forms on made-up maps."""

import numpy as np
import pytest

from scan2map.evaluation.predictions import agreement_rows


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
