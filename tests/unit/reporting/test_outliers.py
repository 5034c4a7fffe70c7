"""Outliers by robust scores."""

import numpy as np
import pandas as pd
import pytest

from scan2map.evaluation.long_table import COLUMNS
from scan2map.reporting.outliers import quality_metrics, robust_scores


def test_scores_of_normal_values_are_standard_deviations():
    values = np.random.default_rng(0).normal(5, 2, 4000)
    assert robust_scores(values) == pytest.approx((values - 5) / 2, abs=0.25)


def test_one_wild_value_does_not_hide_itself():
    scores = robust_scores(np.array([1.0, 1.1, 0.9, 1.05, 0.95, 100.0]))
    assert abs(scores[-1]) > 100
    assert np.abs(scores[:-1]).max() < 2


@pytest.mark.parametrize("values", [[1.0, 2.0, 50.0, 3.0], [1.0] * 6 + [2.0], []])
def test_few_or_equal_values_have_no_outliers(values):
    assert np.isnan(robust_scores(np.array(values))).all()


def test_metrics_mark_the_session():
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 9.0]
    rows = [(f"{i:02}", "1", "image", "dwi_motion", "value", v, "mm", np.nan, np.nan) for i, v in enumerate(values)]
    metrics = quality_metrics(pd.DataFrame(rows, columns=list(COLUMNS)), {"dwi_motion": "Motion"}, 3.5)
    assert [(metric.name, metric.unit) for metric in metrics] == [("Motion", "mm")]
    assert {key[0] for key, (_, far, _) in metrics[0].values.items() if far} == {"05"}
