"""The page of the whole study: who ran, how good it is, and the values beside each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from scan2map.derivative_tables import write_frame
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.maps import TISSUES
from scan2map.provenance import commit, sidecar_path, software_versions
from scan2map.reporting.charts import Point, strip_plot
from scan2map.reporting.downloads import downloads
from scan2map.reporting.group_models import ModelView, model_view
from scan2map.reporting.group_numbers import DICTIONARY, group_numbers
from scan2map.reporting.numbers import (
    Grid,
    comparison_grids,
    metric_name,
    number,
    shown_unit,
    shown_value,
    tissue_grid,
    with_unit,
)
from scan2map.reporting.outliers import QualityMetric, quality_metrics, robust_scores
from scan2map.reporting.page import render_page, write_page
from scan2map.reporting.ranges import write_ranges
from scan2map.reporting.states import ModalityState, read_notes, read_rows, session_states, sessions_of
from scan2map.reporting.tracing import Cell, gather_traced, read_traced, sources_of, traced

STEP = "write_group_page"


@dataclass(frozen=True)
class SessionRow:
    """One session in the table of sessions."""

    subject: str
    session: str
    page: str
    states: Mapping[str, ModalityState]


@dataclass(frozen=True)
class Distribution:
    """A strip plot of one map over all sessions."""

    name: str
    chart: Markup


def write_group_page(
    files: Mapping,
    out,
    *,
    table,
    ranges,
    study: Mapping,
    settings: Mapping,
    bootstrap: Mapping[str, Any],
    notes: Iterable = (),
    models: Mapping[str, list] | None = None,
) -> None:
    """Write the group page, the table of its numbers, and the ranges that session pages show.

    Args:
        files: ``inventory``, ``rois``; lists ``quality``, ``truth``, ``scanner`` of sessions' long tables; ``targets``:
            the validation table, or none.
        out: the HTML file; subject pages lie beside it.
        table: the numbers that are computed over sessions, beside it.
        ranges: the script that puts the study's ranges into the session pages, beside it.
        study: ``title`` and ``kind``.
        settings: block ``report``.
        bootstrap: ``confidence``, ``resamples``, ``seed`` of intervals over subjects.
        notes: failure notes of all sessions.
        models: learned systems of the study, each with its sessions' comparisons; their cards lie beside the page.
    """
    rois = read_traced(files["rois"], out)
    rows = session_rows(read_rows(files["inventory"]), read_notes(notes))
    modalities = list(dict.fromkeys(modality for row in rows for modality in row.states))
    predictions = {system: gather_traced(paths, out) for system, paths in (models or {}).items()}
    comparisons = {name: gather_traced(files[name], out) for name in ("truth", "scanner")}
    numbers = _write_numbers(group_numbers(rois, comparisons, predictions, bootstrap), table, out)
    page = render_page(
        "group.html.j2",
        study=study,
        sessions=rows,
        modalities={modality: ModalityState(modality, "runs") for modality in modalities},
        counts=Counter((modality, state.status) for row in rows for modality, state in row.states.items()),
        totals=Counter(state.status for row in rows for state in row.states.values()),
        subjects=len({row.subject for row in rows}),
        quality=_quality(files["quality"], settings["outlier_threshold"], out),
        distributions=distributions(rois[rois["roi"].isin(TISSUES)], settings["outlier_threshold"]),
        tissue_rois=_part_grid(numbers, "tissue"),
        comparisons={name: comparison_grids(_part(numbers, name)) for name, found in comparisons.items() if len(found)},
        targets=target_rows(files["targets"], out) if files["targets"] else [],
        models=model_views(predictions, numbers),
        downloads=downloads(out, targets=bool(files["targets"])),
        software=software_versions(),
        commit=commit(),
        number=number,
        shown_unit=shown_unit,
        shown_value=shown_value,
    )
    write_ranges(ranges, rois)
    write_page(out, page)


def _write_numbers(numbers: pd.DataFrame, table, page) -> pd.DataFrame:
    """Write the table, and read it as the page shows it: each row with its cell."""
    write_frame(table, numbers, DICTIONARY, step=STEP, description="Numbers over the sessions of the study")
    return traced(read_table(table).fillna({"system": ""}), table, page)


def _part(numbers: pd.DataFrame, part: str) -> pd.DataFrame:
    return numbers[numbers["part"] == part]


def _part_grid(numbers: pd.DataFrame, part: str) -> Grid | None:
    rows = _part(numbers, part)
    return None if rows.empty else tissue_grid(rows)


def model_views(predictions: Mapping[str, pd.DataFrame], numbers: pd.DataFrame) -> list[ModelView]:
    """The learned systems of the study, one view each."""
    return [model_view(system, table, numbers) for system, table in predictions.items()]


def session_rows(inventory: pd.DataFrame, notes: Iterable[Mapping]) -> list[SessionRow]:
    """Every session of the inventory with the state of its modalities and its page."""
    notes = list(notes)
    return [
        SessionRow(
            subject, session, f"sub-{subject}_ses-{session}.html", session_states(inventory, notes, subject, session)
        )
        for subject, session in sessions_of(inventory)
    ]


def _quality(paths: Iterable, threshold: float, page) -> list[QualityMetric]:
    paths = list(paths)
    words: dict[str, str] = {}
    for path in paths:
        sidecar = sidecar_path(path)
        content = json.loads(sidecar.read_text()) if Path(sidecar).is_file() else {}
        words |= {metric: entry["Description"] for metric, entry in content.get("Metrics", {}).items()}
    table = gather_traced(paths, page)
    for metric in ("opposed_b0_uncorrected", "opposed_b0_corrected"):
        words[metric] = f"{metric_name(metric)}: correlation r"
    return quality_metrics(table[table["statistic"].isin(("value", "pearson_r"))], words, threshold)


def distributions(table: pd.DataFrame, threshold: float) -> list[Distribution]:
    """One strip plot per map: the median of each tissue in each session; a point leads to the session's page."""
    found = []
    for metric, rows in table[table["statistic"] == "median"].dropna(subset="value").groupby("metric", sort=False):
        unit = rows["unit"].iloc[0]
        groups = {tissue: _points(rows[rows["roi"] == tissue], unit, threshold) for tissue in TISSUES}
        name = metric_name(metric)
        title = f"{name}: median per tissue and session"
        found.append(Distribution(metric, strip_plot(groups, title=title, x_label=with_unit(name, unit))))
    return found


def _points(rows: pd.DataFrame, unit: str, threshold: float) -> list[Point]:
    far = np.abs(robust_scores(rows["value"].to_numpy())) > threshold
    return [
        Point(f"sub-{row.subject} ses-{row.session}", shown_value(row.value, unit),
              f"sub-{row.subject}_ses-{row.session}.html", source, bool(out))
        for row, source, out in zip(rows.itertuples(), sources_of(rows), far, strict=True)
    ]  # fmt: skip


def target_rows(path, page) -> list[dict[str, str]]:
    """The validation table as texts."""
    return [
        {
            "description": row["description"],
            "value": Cell(_text(row["value"]), row["source"]),
            "interval": f"{_text(row['ci_low'])} to {_text(row['ci_high'])}" if _text(row["ci_low"]) else "–",
            "target": row["target"],
            "met": row["met"],
        }
        for row in read_traced(path, page).to_dict("records")
    ]


def _text(value) -> str:
    """A cell of the validation table: empty cells make the column text."""
    return "" if value == "" or pd.isna(value) else f"{float(value):.4g}"
