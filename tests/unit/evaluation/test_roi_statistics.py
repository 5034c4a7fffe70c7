"""Region summaries against hand-made regions."""

import numpy as np
import pytest

from scan2map.evaluation.roi_statistics import label_regions, region_rows, summarise, tissue_weights


def rows_of(values, valid, regions):
    rows = list(region_rows(values, valid, regions, metric="FA", unit="1"))
    return {(row.roi, row.statistic): row for row in rows}


def test_threshold_keeps_voxels_at_the_threshold():
    weights = tissue_weights(np.array([0.79, 0.8, 1.0]), threshold=0.8, partial_volume=False)
    assert weights.tolist() == [0, 1, 1]


def test_partial_volume_weights_are_the_fractions():
    weights = tissue_weights(np.array([-0.1, 0.3, 1.2]), threshold=0.8, partial_volume=True)
    assert weights.tolist() == pytest.approx([0, 0.3, 1])


def test_plain_summary_is_that_of_numpy():
    values = np.array([1.0, 2.0, 3.0, 10.0])
    summary = summarise(values, np.ones(4))
    assert summary == pytest.approx({"median": 2.5, "mean": 4.0, "sd": np.std(values)})


def test_weighted_summary_equals_that_of_repeated_voxels():
    values, counts = np.array([1.0, 2.0, 5.0]), np.array([1, 3, 1])
    repeated = np.repeat(values, counts)
    summary = summarise(values, counts.astype(float))
    assert summary["mean"] == pytest.approx(repeated.mean())
    assert summary["sd"] == pytest.approx(repeated.std())
    assert summary["median"] == pytest.approx(np.median(repeated))


def test_rows_count_voxels_and_coverage_inside_the_valid_area():
    values = np.array([0.1, 0.3, 0.5, 0.9])
    valid = np.array([True, True, True, False])
    row = rows_of(values, valid, {"WM": np.array([0.0, 1.0, 1.0, 1.0])})["WM", "mean"]
    assert row.value == pytest.approx(0.4)
    assert (row.n_voxels, row.coverage) == (2, pytest.approx(2 / 3))


def test_values_that_are_not_numbers_are_left_out():
    row = rows_of(np.array([np.nan, 2.0]), np.ones(2, bool), {"GM": np.ones(2)})["GM", "median"]
    assert (row.value, row.coverage) == (2.0, 0.5)


def test_an_empty_region_gives_no_number_and_no_coverage():
    row = rows_of(np.ones(3), np.ones(3, bool), {"GM": np.zeros(3)})["GM", "mean"]
    assert np.isnan(row.value)
    assert np.isnan(row.coverage)
    assert row.n_voxels == 0


def test_labels_become_named_regions():
    regions = label_regions(np.array([0, 2, 2, 7]), {2: "left", 7: "right", 9: "absent"}, prefix="atlas")
    assert {name: int(weights.sum()) for name, weights in regions.items()} == {
        "atlas:left": 2,
        "atlas:right": 1,
        "atlas:absent": 0,
    }
