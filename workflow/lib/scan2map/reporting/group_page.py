"""The page of the whole study: who ran, how good it is, and the values beside each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from scan2map.evaluation.long_table import gather_tables, read_table
from scan2map.provenance import commit, sidecar_path, software_versions
from scan2map.reporting.charts import strip_plot
from scan2map.reporting.numbers import (
    comparison_grids,
    metric_name,
    number,
    shown_unit,
    shown_value,
    tissue_grid,
    with_unit,
)
from scan2map.reporting.outliers import QualityMetric, quality_metrics
from scan2map.reporting.page import render_page, write_page
from scan2map.reporting.states import ModalityState, read_notes, read_rows, session_states, sessions_of
from scan2map.systems import load_system

TISSUES = ("GM", "WM", "CSF")
# What lies beside the page in every study, and what it holds.
DOWNLOADS = {
    "../inventory.tsv": "which session runs which modality, and why not",
    "../series.tsv": "every series of every export, and what became of it",
    "../evaluation/rois.tsv": "every map in every region, with coverage",
    "../evaluation/quality_dwi.tsv": "quality of every diffusion scan",
    "../evaluation/quality_asl.tsv": "quality of every perfusion scan",
    "../bids_validation.tsv": "what the BIDS validator says",
    "resources.html": "time, memory and disk of every step",
    "../ro-crate-metadata.json": "the run as an RO-Crate: each file, the step that made it, its inputs and settings",
}


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
    files: Mapping, out, *, study: Mapping, settings: Mapping, notes: Iterable = (), systems: Iterable[str] = ()
) -> None:
    """Write the group page.

    Args:
        files: ``inventory``, ``rois``; lists ``quality``, ``truth``, ``scanner`` of sessions' long tables; ``targets``:
            the validation table, or none.
        out: the HTML file; subject pages lie beside it.
        study: ``title`` and ``kind``.
        settings: block ``report``.
        notes: failure notes of all sessions.
        systems: learned systems of the study; their cards lie beside the page.
    """
    rois = read_table(files["rois"])
    rows = session_rows(read_rows(files["inventory"]), read_notes(notes))
    tissue = rois[rois["roi"].isin(TISSUES)]
    modalities = list(dict.fromkeys(modality for row in rows for modality in row.states))
    comparisons = {name: gather_tables(files[name]) for name in ("truth", "scanner")}
    page = render_page(
        "group.html.j2",
        study=study,
        sessions=rows,
        modalities={modality: ModalityState(modality, "runs") for modality in modalities},
        counts=Counter((modality, state.status) for row in rows for modality, state in row.states.items()),
        subjects=len({row.subject for row in rows}),
        quality=_quality(files["quality"], settings["outlier_threshold"]),
        distributions=distributions(tissue),
        tissue_rois=tissue_grid(over_subjects(tissue)) if not tissue.empty else None,
        comparisons={name: comparison_grids(table) for name, table in comparisons.items() if not table.empty},
        targets=target_rows(files["targets"]) if files["targets"] else [],
        models=[(f"model-{system}.html", load_system(system).description) for system in systems],
        downloads=DOWNLOADS,
        software=software_versions(),
        commit=commit(),
        number=number,
        shown_unit=shown_unit,
        shown_value=shown_value,
    )
    write_page(out, page)


def session_rows(inventory: pd.DataFrame, notes: Iterable[Mapping]) -> list[SessionRow]:
    """Every session of the inventory with the state of its modalities and its page."""
    notes = list(notes)
    return [
        SessionRow(
            subject, session, f"sub-{subject}_ses-{session}.html", session_states(inventory, notes, subject, session)
        )
        for subject, session in sessions_of(inventory)
    ]


def _quality(paths: Iterable, threshold: float) -> list[QualityMetric]:
    paths = list(paths)
    words: dict[str, str] = {}
    for path in paths:
        sidecar = sidecar_path(path)
        content = json.loads(sidecar.read_text()) if Path(sidecar).is_file() else {}
        words |= {metric: entry["Description"] for metric, entry in content.get("Metrics", {}).items()}
    table = gather_tables(paths)
    for metric in ("opposed_b0_uncorrected", "opposed_b0_corrected"):
        words[metric] = f"{metric_name(metric)}: correlation r"
    return quality_metrics(table[table["statistic"].isin(("value", "pearson_r"))], words, threshold)


def over_subjects(table: pd.DataFrame) -> pd.DataFrame:
    """Median, mean and standard deviation over sessions of the regional medians, as a long table."""
    medians = table[table["statistic"] == "median"]
    keys = ["roi", "metric", "unit"]
    parts = [
        medians.groupby(keys, sort=False)["value"].agg(function).reset_index().assign(statistic=name)
        for name, function in (("median", "median"), ("mean", "mean"), ("sd", "std"))
    ]
    return pd.concat(parts, ignore_index=True)


def distributions(table: pd.DataFrame) -> list[Distribution]:
    """One strip plot per map: the median of each tissue in each session."""
    found = []
    for metric, rows in table[table["statistic"] == "median"].dropna(subset="value").groupby("metric", sort=False):
        unit = rows["unit"].iloc[0]
        groups = {tissue: _points(rows[rows["roi"] == tissue], unit) for tissue in TISSUES}
        name = metric_name(metric)
        title = f"{name}: median per tissue and session"
        found.append(Distribution(metric, strip_plot(groups, title=title, x_label=with_unit(name, unit))))
    return found


def _points(rows: pd.DataFrame, unit: str) -> dict[str, float]:
    return {f"sub-{row.subject} ses-{row.session}": shown_value(row.value, unit) for row in rows.itertuples()}


def target_rows(path) -> list[dict[str, str]]:
    """The validation table as texts."""
    return [
        {
            "description": row["description"],
            "value": _text(row["value"]),
            "interval": f"{_text(row['ci_low'])} to {_text(row['ci_high'])}" if _text(row["ci_low"]) else "–",
            "target": row["target"],
            "met": row["met"],
        }
        for row in read_table(path).to_dict("records")
    ]


def _text(value) -> str:
    """A cell of the validation table: empty cells make the column text."""
    return "" if value == "" or pd.isna(value) else f"{float(value):.4g}"
