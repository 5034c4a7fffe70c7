"""Calibration of probabilities and intervals: by hand, and where the truth is drawn from the probabilities."""

import numpy as np
import pytest
import torch
from monai.metrics import CalibrationErrorMetric, MSEMetric

from scan2map.errors import DataError
from scan2map.evaluation.calibration import (
    BINS,
    balanced_weights,
    base_rate_brier,
    brier_score,
    coverage,
    expected_calibration_error,
)


def test_error_by_hand():
    # Bin 10 of 15 holds 0.7 (3 of 4 true), bin 1 holds 0.1 (1 of 4 true): 0.5 |0.7 − 0.75| + 0.5 |0.1 − 0.25|.
    probability, truth = [0.7] * 4 + [0.1] * 4, [1, 1, 1, 0, 1, 0, 0, 0]
    assert expected_calibration_error(probability, truth) == pytest.approx(0.5 * 0.05 + 0.5 * 0.15)
    assert brier_score(probability, truth) == pytest.approx((3 * 0.09 + 0.49 + 0.81 + 3 * 0.01) / 8)
    assert base_rate_brier(truth) == pytest.approx(0.25)


@pytest.mark.parametrize("power", [1, 3])
def test_agreement_with_monai(power):
    rng = np.random.default_rng(power)
    probability = rng.uniform(size=(1, 1, 12, 10, 6)).astype(np.float32)
    truth = (rng.uniform(size=probability.shape) < probability**power).astype(np.float32)
    theirs = CalibrationErrorMetric(num_bins=BINS, right=True)
    theirs(torch.from_numpy(probability), torch.from_numpy(truth))
    assert expected_calibration_error(probability, truth) == pytest.approx(float(theirs.aggregate()), abs=1e-6)
    square = MSEMetric()(torch.from_numpy(probability), torch.from_numpy(truth))
    assert brier_score(probability, truth) == pytest.approx(float(square), rel=1e-5)


def test_truth_drawn_from_its_probability_is_calibrated_and_a_bolder_claim_is_not():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=200_000)
    truth = rng.uniform(size=probability.size) < probability
    assert expected_calibration_error(probability, truth) < 0.01
    bolder = probability**3 / (probability**3 + (1 - probability) ** 3)
    assert expected_calibration_error(bolder, truth) > 0.05
    assert brier_score(probability, truth) == pytest.approx(1 / 6, abs=0.005)
    assert base_rate_brier(truth) == pytest.approx(1 / 4, abs=0.005)


def test_balanced_weights_make_a_missed_small_lesion_visible():
    truth = np.zeros(1000)
    truth[:10] = 1
    silent = np.full(1000, 0.01)
    assert expected_calibration_error(silent, truth) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(silent, truth, balanced_weights(truth)) == pytest.approx(0.49)
    assert balanced_weights(truth)[truth > 0].sum() == pytest.approx(0.5)
    assert balanced_weights(np.zeros(4)) == pytest.approx(0.25)


def test_certainty_belongs_to_the_last_bin():
    assert expected_calibration_error([1.0, 1.0, 0.0], [1, 1, 0]) == 0


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_of_normal_errors_cover_their_level(level):
    rng = np.random.default_rng(1)
    spread = rng.uniform(0.1, 3, 100_000)
    assert coverage(spread * rng.normal(size=spread.size), spread, level) == pytest.approx(level, abs=0.01)


def test_values_beyond_one_are_refused():
    with pytest.raises(DataError, match="not probabilities"):
        brier_score([1.2], [1])
