"""A map that cannot be true is stopped."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.quality.gates import check_map

MASK = np.ones((4, 4, 4), dtype=bool)
RANGE = {"name": "CBF", "unit": "ml/100g/min", "median_range": (10, 150)}


def plausible():
    return np.random.default_rng(0).normal(50, 10, MASK.shape)


def test_plausible_map_passes_and_returns_its_median():
    values = plausible()
    assert check_map(values, MASK, **RANGE) == pytest.approx(np.median(values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros(MASK.shape), "constant"),
        (np.full(MASK.shape, 50.0), "constant"),
        (plausible() / 100, "not plausible"),
        (np.where(np.arange(64).reshape(4, 4, 4) == 3, np.nan, plausible()), "not numbers"),
    ],
)
def test_impossible_maps_are_stopped(values, words):
    with pytest.raises(DataError, match=words):
        check_map(values, MASK, **RANGE)


def test_empty_mask_is_stopped():
    with pytest.raises(DataError, match="mask for CBF is empty"):
        check_map(plausible(), ~MASK, **RANGE)


def test_values_outside_the_mask_do_not_matter():
    values = plausible()
    values[0] = np.nan
    mask = MASK.copy()
    mask[0] = False
    assert 10 < check_map(values, mask, **RANGE) < 150
