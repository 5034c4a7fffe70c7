"""Agreement statistics against closed forms."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.evaluation import agreement


def test_constant_offset_gives_its_size_as_error_and_bias():
    truth = np.array([1.0, 2.0, 4.0])
    measured = truth - 0.5
    assert agreement.mean_absolute_error(measured, truth) == pytest.approx(0.5)
    assert agreement.root_mean_square_error(measured, truth) == pytest.approx(0.5)
    assert agreement.bias(measured, truth) == pytest.approx(-0.5)


def test_rmse_of_a_single_large_error():
    measured, truth = np.array([0.0, 0.0, 0.0, 6.0]), np.zeros(4)
    assert agreement.root_mean_square_error(measured, truth) == pytest.approx(3.0)
    assert agreement.mean_absolute_error(measured, truth) == pytest.approx(1.5)


def test_relative_error_leaves_out_zero_references():
    measured, truth = np.array([1.1, 2.4, 9.0]), np.array([1.0, 2.0, 0.0])
    assert agreement.median_relative_error(measured, truth) == pytest.approx(0.15)


def test_relative_error_of_an_empty_reference_is_refused():
    with pytest.raises(DataError, match="not zero everywhere"):
        agreement.median_relative_error(np.ones(3), np.zeros(3))


def test_correlation_is_scale_free_and_signed():
    truth = np.arange(10.0)
    assert agreement.pearson_r(3 * truth + 7, truth) == pytest.approx(1)
    assert agreement.pearson_r(-truth, truth) == pytest.approx(-1)


@pytest.mark.parametrize("measured", [np.ones(4), np.zeros(0)])
def test_correlation_refuses_constant_and_empty_maps(measured):
    with pytest.raises(DataError):
        agreement.pearson_r(measured, np.arange(measured.size, dtype=float))


def test_dice_of_known_overlap():
    first, second = np.zeros(10, bool), np.zeros(10, bool)
    first[:4], second[2:8] = True, True
    assert agreement.dice(first, second) == pytest.approx(2 * 2 / 10)
    assert agreement.dice(first, np.zeros(10, bool)) == 0
    assert agreement.dice(np.zeros(3, bool), np.zeros(3, bool)) == 1


def test_concordance_is_one_only_on_the_line_of_identity():
    """Lin 1989: a shift by one standard deviation of equal variances gives 2/(2 + 1) of the correlation."""
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert agreement.concordance(x, x) == pytest.approx(1.0)
    assert agreement.concordance(x + x.std(), x) == pytest.approx(2 / 3)
    assert agreement.concordance(-x, x) < 0
    with pytest.raises(DataError):
        agreement.concordance(np.ones(3), np.ones(3))
