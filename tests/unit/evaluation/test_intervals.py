"""Bootstrap intervals against theory."""

import numpy as np
import pandas as pd
import pytest

from scan2map.evaluation.intervals import bootstrap_interval, subject_values


def test_interval_of_a_mean_matches_the_normal_theory():
    values = np.random.default_rng(3).normal(10, 2, 400)
    interval = bootstrap_interval(values, seed=1)
    half = 1.96 * values.std(ddof=0) / np.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_one_subject_has_no_interval():
    interval = bootstrap_interval([4.2])
    assert interval.value == pytest.approx(4.2)
    assert np.isnan([interval.low, interval.high]).all()


def test_extremes_have_no_interval():
    interval = bootstrap_interval([1.0, 5.0, 3.0], aggregation="max")
    assert interval.value == 5
    assert np.isnan(interval.low)


def test_the_same_seed_gives_the_same_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5, resamples=200) != bootstrap_interval(values, seed=6, resamples=200)


def test_sessions_of_a_subject_count_once():
    table = pd.DataFrame({"subject": ["01", "01", "02"], "value": [1.0, 3.0, 10.0]})
    assert subject_values(table).tolist() == [2.0, 10.0]
