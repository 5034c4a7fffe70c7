"""What the group page shows of learned systems: errors per region with intervals, agreement and calibration."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from scan2map.reporting.charts import Point
from scan2map.reporting.charts_agreement import agreement_chart, calibration_chart
from scan2map.reporting.group_numbers import COVERAGE, FEWEST_SESSIONS, session_means
from scan2map.reporting.numbers import STATISTIC_NAMES, Grid, number, shown_unit, shown_value, with_unit
from scan2map.reporting.tracing import Cell
from scan2map.systems import load_system
from scan2map.training.files import PredictedMap

NO_AGREEMENT = f"Missing: agreement needs {FEWEST_SESSIONS} sessions with this prediction and a reference."
NO_CALIBRATION = "Missing: calibration needs a model that claims an uncertainty, and a known truth."
NO_ERRORS = "Missing: errors need a known truth; agreement with the conventional estimates is on the sessions' pages."


@dataclass(frozen=True)
class Chart:
    """A chart with its title; ``agreement`` names what a model was compared with."""

    title: str
    chart: Markup


@dataclass(frozen=True)
class ModelView:
    """One system on the group page; a notice stands where something is missing."""

    system: str
    title: str
    card: str
    errors: Grid | None
    agreement: tuple[Chart, ...]
    calibration: tuple[Chart, ...]
    notices: tuple[str, ...]


def _page(subject: str, session: str) -> str:
    return f"sub-{subject}_ses-{session}.html"


def _interval(row) -> Cell:
    value, low, high = (shown_value(getattr(row, name), row.unit) for name in ("value", "ci_low", "ci_high"))
    known = not pd.isna(row.ci_low)
    return Cell(f"{number(value)} ({number(low)} to {number(high)})" if known else number(value), row.source)


def _names(maps: tuple[PredictedMap, ...]) -> dict[str, str]:
    words = {"prediction": "model", "baseline": "conventional"}
    return {item.name: item.name_shown or words.get(item.role, item.role) for item in maps}


def error_grid(system: str, numbers: pd.DataFrame) -> Grid | None:
    """Errors of model and conventional estimate per map, region and measure, and their paired difference.

    Args:
        system: its name.
        numbers: rows of part ``model`` of the system, with their sources.
    """
    maps = load_system(system).description.maps
    labels, names = {item.name: item.label for item in maps}, _names(maps)
    rows = []
    for row in numbers[numbers["metric"].str.contains(" - ")].itertuples():
        own, other = row.metric.split(" - ")
        same = numbers[(numbers["roi"] == row.roi) & (numbers["statistic"] == row.statistic)].set_index("metric")
        title = with_unit(labels[own].partition(" (")[0], row.unit)
        measure = STATISTIC_NAMES[row.statistic]
        cells = (_interval(same.loc[name]) for name in (own, other))
        rows.append((title, row.roi, measure, names[other], *cells, _interval(row), str(row.n)))
    header = ("Map", "Region", "Error", "Beside", "Model", "Conventional", "Model − conventional, size", "Subjects")
    return Grid(header, tuple(rows), labels=4) if rows else None


def agreement_charts(system: str, table: pd.DataFrame, numbers: pd.DataFrame) -> tuple[Chart, ...]:
    """One chart of differences over means per prediction and reference.

    Args:
        system: its name.
        table: comparisons of all sessions, with sources.
        numbers: rows of part ``agreement`` of the system.
    """
    maps = {item.name: item for item in load_system(system).description.maps}
    names = _names(tuple(maps.values())) | {"truth": "truth"}
    charts = []
    for (metric, reference), both in session_means(system, table).items():
        rows = numbers[numbers["metric"] == f"{metric} | {reference}"]
        unit = maps[metric].unit
        lines = {
            roi: tuple(
                shown_value(found.set_index("statistic").loc[name, "value"], unit) for name in ("bias", "low", "high")
            )
            for roi, found in rows.groupby("roi", sort=False)
        }
        groups = {
            roi: [_difference(row, unit) for row in found.itertuples()]
            for roi, found in both.groupby("roi", sort=False)
        }
        title = f"{maps[metric].label.partition(' (')[0]}: model − {names[reference]}"
        charts.append(Chart(title, agreement_chart(groups, lines, title=title, unit=shown_unit(unit))))
    return tuple(charts)


def _difference(row, unit: str) -> tuple[float, Point]:
    own, other = (shown_value(value, unit) for value in (row.estimate, row.reference))
    label = f"sub-{row.subject} ses-{row.session}"
    return (own + other) / 2, Point(label, own - other, _page(row.subject, row.session), row.source)


def calibration_charts(system: str, numbers: pd.DataFrame) -> tuple[Chart, ...]:
    """One chart of observed over nominal coverage per prediction with an uncertainty."""
    labels = {item.name: item.label.partition(" (")[0] for item in load_system(system).description.maps}
    charts = []
    for metric, rows in numbers.groupby("metric", sort=False):
        lines, sources = {}, {}
        for roi, found in rows.groupby("roi", sort=False):
            levels = found["statistic"].str.removeprefix(COVERAGE).astype(float) / 100
            lines[roi] = list(zip(levels, found["value"], found["ci_low"], found["ci_high"], strict=True))
            sources[roi] = list(found["source"])
        title = f"{labels[metric]}: truth inside the model's intervals"
        charts.append(Chart(title, calibration_chart(lines, sources, title=title)))
    return tuple(charts)


def model_view(system: str, table: pd.DataFrame, numbers: pd.DataFrame) -> ModelView:
    """One system as the group page shows it.

    Args:
        system: its name.
        table: comparisons of its maps, all sessions, with sources.
        numbers: the numbers over sessions, with sources.
    """
    own = numbers[numbers["system"] == system]
    parts = {part: own[own["part"] == part] for part in ("model", "agreement", "calibration")}
    errors = error_grid(system, parts["model"])
    agreement = agreement_charts(system, table, parts["agreement"])
    calibration = calibration_charts(system, parts["calibration"])
    found = ((errors, NO_ERRORS), (agreement, NO_AGREEMENT), (calibration, NO_CALIBRATION))
    notices = tuple(notice for part, notice in found if not part)
    title = load_system(system).description.title
    return ModelView(system, title, f"model-{system}.html", errors, agreement, calibration, notices)
