"""Numbers as the pages write them."""

import numpy as np
import pandas as pd
import pytest

from scan2map.evaluation.long_table import COLUMNS
from scan2map.reporting.numbers import (
    check_expectations,
    comparison_grids,
    number,
    region_grid,
    shown_value,
    tissue_grid,
)


def table(*rows):
    """Rows (roi, metric, statistic, value, unit) as a long table."""
    full = [("01", "1", *row, 10, 1.0) for row in rows]
    return pd.DataFrame(full, columns=list(COLUMNS))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.41234, "0.412"),
        (1234.5, "1234"),
        (-0.00765, "\N{MINUS SIGN}0.00765"),
        (0, "0"),
        (np.nan, "–"),
        (20.0, "20.0"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_diffusivities_are_shown_in_thousandths():
    assert shown_value(7.1e-4, "mm2/s") == pytest.approx(0.71)


def test_tissue_grid_puts_tissues_beside_each_other():
    rows = [(roi, "MD", name, 1e-3, "mm2/s") for roi in ("GM", "WM") for name in ("median", "mean", "sd")]
    grid = tissue_grid(table(*rows))
    assert grid.header == ("Map", "GM median", "GM mean ± sd", "WM median", "WM mean ± sd")
    assert grid.rows == (("MD (10⁻³ mm²/s)", "1.00", "1.00 ± 1.0", "1.00", "1.00 ± 1.0"),)


def test_one_session_has_no_spread():
    grid = tissue_grid(table(("GM", "FA", "mean", 0.2, "1"), ("GM", "FA", "sd", np.nan, "1")))
    assert grid.rows[0][-1] == "0.200"


def test_region_grid_shows_medians():
    grid = region_grid(table(*(("lobes:frontal_R", "FA", name, 0.25, "1") for name in ("median", "mean"))))
    assert grid.rows == (("lobes: frontal R", "0.250"),)


def test_comparisons_separate_map_errors_from_other_figures():
    errors, others = comparison_grids(
        table(
            ("WM", "FA", "mean_absolute_error", 0.02, "1"),
            ("WM", "FA", "bias", -0.01, "1"),
            ("WM", "FA", "median_relative_error", 0.052, "1"),
            ("WM", "direction", "median_axial_angle", 3.2, "deg"),
            ("brain", "displacement", "root_mean_square_error", 0.21, "voxel"),
        )
    )
    cells = dict(zip(errors.header, errors.rows[0], strict=True))
    assert cells["Map"] == "FA"
    assert cells["bias"] == "\N{MINUS SIGN}0.0100"
    assert cells["median relative error"] == "5.20 %"
    assert cells["RMSE"] == "–"
    assert others.rows == (
        ("Fibre direction", "WM", "median angle", "3.20 °"),
        ("Displacement", "brain", "RMSE", "0.210 voxels"),
    )


def test_comparisons_average_sessions():
    rows = [("WM", "direction", "median_axial_angle", value, "deg") for value in (1.0, 3.0)]
    assert comparison_grids(table(*rows))[0].rows[0][-1] == "2.00 °"


def test_checks_tell_inside_outside_and_absent():
    expectations = tuple(
        {"roi": roi, "metric": "FA", "low": 0.2, "high": "6e-1", "source": "s"} for roi in ("WM", "GM", "CSF")
    )
    rows = [("WM", "FA", "median", 0.4, "1"), ("GM", "FA", "median", 0.1, "1"), ("CSF", "FA", "median", np.nan, "1")]
    checks = check_expectations(table(*rows), (*expectations, expectations[0] | {"metric": "CBF"}))
    assert [check.verdict for check in checks] == ["inside", "outside", "absent"]
    assert checks[0].expected == "0.2 to 0.6"
