"""Tables of numbers as the pages show them: readable units, sensible digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scan2map.reporting.tracing import SOURCE, Cell, range_key, sources_of

# Unit in the tables -> factor and unit on the page.
SHOWN_UNITS = {
    "mm2/s": (1e3, "10⁻³ mm²/s"),
    "1": (1.0, ""),
    "mm^2/s": (1e3, "10⁻³ mm²/s"),
    "ml/100g/min": (1.0, "ml/100 g/min"),
    "mL/100g/min": (1.0, "ml/100 g/min"),
    "voxel": (1.0, "voxels"),
    "deg": (1.0, "°"),
}
STATISTIC_NAMES = {
    "mean_absolute_error": "mean absolute error",
    "root_mean_square_error": "RMSE",
    "bias": "bias",
    "median_relative_error": "median relative error",
    "ratio_of_means": "ratio of means",
    "median_axial_angle": "median angle",
    "dice": "Dice",
    "pearson_r": "correlation r",
    "relative_difference": "relative difference",
    "median_difference": "median difference",
    "mean": "mean",
    "mean_difference": "mean difference",
    "limit_of_agreement_low": "95 % of differences from",
    "limit_of_agreement_high": "95 % of differences to",
}
# Statistics of a map against its reference, in the order of the table's columns.
ERRORS = ("mean_absolute_error", "root_mean_square_error", "bias", "median_relative_error", "ratio_of_means")
ABSENT = (np.nan, "1", "")
PERCENT = ("median_relative_error", "relative_difference")
METRIC_NAMES = {
    "CBF_multidelay": "CBF, several delays",
    "ATT": "Arterial transit time",
    "opposed_b0_uncorrected": "Opposed b = 0, before correction",
    "opposed_b0_corrected": "Opposed b = 0, after correction",
    "FA_uncorrected": "FA without correction",
    "MD_uncorrected": "MD without correction",
    "displacement": "Displacement",
    "displacement_uncorrected": "Displacement without correction",
    "field": "Field",
    "direction": "Fibre direction",
    "segmentation": "Segmentation",
    "FA_scanner_AP": "FA of the AP series, ours against the scanner's",
    "MD_scanner_AP": "MD of the AP series, ours against the scanner's ADC",
    "FA_scanner_PA": "FA of the PA series, ours against the scanner's",
    "MD_scanner_PA": "MD of the PA series, ours against the scanner's ADC",
}


@dataclass(frozen=True)
class Grid:
    """A table of texts with a header; the first ``labels`` columns are words, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1


def shown_unit(unit: str) -> str:
    """The unit as the page writes it."""
    return SHOWN_UNITS.get(unit, (1.0, unit))[1]


def shown_value(value: float, unit: str) -> float:
    """The value in the unit that the page writes."""
    return value * SHOWN_UNITS.get(unit, (1.0, unit))[0]


def number(value: float, digits: int = 3) -> str:
    """A number with some significant digits and a true minus sign; a dash if there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{min(decimals, 6)}f}".replace("-", "\N{MINUS SIGN}")


def metric_name(metric: str) -> str:
    """The metric in words."""
    return METRIC_NAMES.get(metric, metric)


def with_unit(name: str, unit: str) -> str:
    """A name with the unit that the page writes."""
    return f"{name} ({shown_unit(unit)})" if shown_unit(unit) else name


def _pivot(table: pd.DataFrame) -> tuple[dict, dict, list[str], list[str], dict[str, str]]:
    """Values by (roi, metric, statistic) in shown units, their sources, the regions, the metrics, and their units."""
    shown = [shown_value(value, unit) for value, unit in zip(table["value"], table["unit"], strict=True)]
    keys = list(zip(table["roi"], table["metric"], table["statistic"], strict=True))
    units = dict(zip(table["metric"], table["unit"], strict=True))
    values, sources = (dict(zip(keys, found, strict=True)) for found in (shown, sources_of(table)))
    return values, sources, list(dict.fromkeys(table["roi"])), list(units), units


def tissue_grid(table: pd.DataFrame, *, ranged: bool = False) -> Grid:
    """Tissue part of the ROI table as metrics by tissues: median, and mean ± sd.

    Args:
        table: regional values of one session, or over sessions.
        ranged: each median carries its place, at which ``page.js`` writes the range over the study.
    """
    values, sources, regions, metrics, units = _pivot(table)
    header = ["Map"]
    for roi in regions:
        header += [f"{roi} median", f"{roi} mean ± sd"]
    rows = []
    for metric in metrics:
        cells = [with_unit(metric_name(metric), units[metric])]
        for roi in regions:
            median, mean, sd = (values.get((roi, metric, name), np.nan) for name in ("median", "mean", "sd"))
            places = [sources.get((roi, metric, name), "") for name in ("median", "mean", "sd")]
            cells.append(Cell(number(median), places[0], range_key(roi, metric) if ranged else ""))
            spread = f" ± {number(sd, 2)}" if np.isfinite(sd) else ""
            cells.append(Cell(number(mean) + spread, " ".join(filter(None, places[1:]))))
        rows.append(tuple(cells))
    return Grid(tuple(header), tuple(rows))


def region_grid(table: pd.DataFrame) -> Grid:
    """Atlas part of the ROI table as regions by metrics: medians, each with the place of its range over the study."""
    values, sources, regions, metrics, units = _pivot(table)
    header = ("Region", *(with_unit(metric_name(metric), units[metric]) for metric in metrics))

    def median(roi: str, metric: str) -> Cell:
        key = (roi, metric, "median")
        return Cell(number(values.get(key, np.nan)), sources.get(key, ""), range_key(roi, metric))

    rows = ((_region_name(roi), *(median(roi, metric) for metric in metrics)) for roi in regions)
    return Grid(header, tuple(rows))


def _region_name(roi: str) -> str:
    """A region in words: atlas, then name."""
    return roi.replace(":", ": ").replace("_", " ")


def _cell(value: float, statistic: str, unit: str) -> str:
    if not np.isfinite(value):
        return "–"
    if statistic in PERCENT:
        return f"{number(100 * value)} %"
    return number(shown_value(value, unit))


def comparison_grids(table: pd.DataFrame) -> list[Grid]:
    """Comparison tables (truth, scanner, opposed b = 0) for the page; several sessions are averaged.

    Returns:
        Quantities by error statistics, then every other figure as one line, each where there are any.
    """
    keys = ["metric", "roi", "statistic"]
    table = table.assign(**{SOURCE: sources_of(table)})
    means = (
        table.groupby(keys, sort=False)
        .agg(value=("value", "mean"), unit=("unit", "first"), source=(SOURCE, " ".join))
        .reset_index()
    )
    of_errors = means["metric"].isin(means.loc[means["statistic"] == ERRORS[0], "metric"])
    parts = ((means[of_errors], _error_grid), (means[~of_errors], _figure_grid))
    return [make(rows) for rows, make in parts if not rows.empty]


def _error_grid(means: pd.DataFrame) -> Grid:
    values: dict[tuple[str, str], dict[str, tuple[float, str, str]]] = {}
    for row in means.itertuples():
        values.setdefault((row.metric, row.roi), {})[row.statistic] = (row.value, row.unit, row.source)
    rows = []
    for (metric, roi), found in values.items():
        cells = (
            Cell(_cell(value, name, unit), source)
            for name, (value, unit, source) in ((name, found.get(name, ABSENT)) for name in ERRORS)
        )
        rows.append((with_unit(metric_name(metric), found[ERRORS[0]][1]), roi, *cells))
    return Grid(("Map", "Region", *(STATISTIC_NAMES[name] for name in ERRORS)), tuple(rows), labels=2)


def _figure_grid(means: pd.DataFrame) -> Grid:
    rows = (
        (
            metric_name(row.metric),
            _region_name(row.roi),
            STATISTIC_NAMES.get(row.statistic, row.statistic),
            Cell(f"{_cell(row.value, row.statistic, row.unit)} {shown_unit(row.unit)}".strip(), row.source),
        )
        for row in means.itertuples()
    )
    return Grid(("Figure", "Region", "Measure", "Value"), tuple(rows), labels=3)


@dataclass(frozen=True)
class Check:
    """A figure beside what is expected of it; ``verdict`` is ``inside``, ``outside`` or ``absent``."""

    name: str
    value: str
    expected: str
    verdict: str
    source: str


def check_expectations(table: pd.DataFrame, expectations: tuple[Mapping, ...]) -> tuple[Check, ...]:
    """Medians of the ROI table beside their expected ranges; metrics that the session lacks are left out."""
    table = table.assign(**{SOURCE: sources_of(table)})
    medians = table[table["statistic"] == "median"].set_index(["roi", "metric"])
    checks = []
    for entry in expectations:
        key = (entry["roi"], entry["metric"])
        if key not in medians.index:
            continue
        value, unit = float(medians.loc[key, "value"]), medians.loc[key, "unit"]
        low, high = (f"{shown_value(float(entry[end]), unit):g}" for end in ("low", "high"))
        inside = float(entry["low"]) <= value <= float(entry["high"])
        verdict = "absent" if np.isnan(value) else "inside" if inside else "outside"
        name = with_unit(f"{entry['metric']} in {entry['roi']}, median", unit)
        expected = f"{low} to {high}"
        shown = Cell(number(shown_value(value, unit)), medians.loc[key, SOURCE])
        checks.append(Check(name, shown, expected, verdict, entry["source"]))
    return tuple(checks)
