"""The page of all figures and tables for papers, and the tables themselves for LaTeX and for a browser."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import pandas as pd

from scan2map.docs import figures_met, short_number, table_title
from scan2map.evaluation.long_table import read_table
from scan2map.provenance import commit
from scan2map.reporting import latex
from scan2map.reporting.figure_list import Entry, FigureList, absent, load_figures, made
from scan2map.reporting.numbers import Grid
from scan2map.reporting.page import render_page, write_page
from scan2map.systems import load_system

# Heads of the columns of validation tables, in their order; the commit stands below the table.
NUMBERS = {"value": "Value", "ci_low": "95 % from", "ci_high": "to"}
VALIDATION = {"description": "Figure", **NUMBERS, "target": "Target", "met": "Met"}
# A table longer than this is shown in part on the page; its files hold all of it.
SHOWN_ROWS = 60


def write_figure_index(
    listed, systems: Sequence[str], folder, validation: Sequence, *, index, tables, study: dict
) -> None:
    """Write the page and the tables.

    Args:
        listed: the list of figures (``workflow/report/figures.yaml``).
        systems: learned systems of the study: their figures lie in the folder.
        folder: with the figures, the page in it.
        validation: the project's validation tables (TSV).
        index: the page.
        tables: folder for the tables: ``<id>.tex`` and, for validation, ``validation-<name>.tsv`` and ``.tex``.
        study: ``title`` and ``kind``.
    """
    figures, folder, tables = load_figures(listed), Path(folder), Path(tables)
    tables.mkdir(parents=True, exist_ok=True)
    entries = made(figures, systems)
    for entry in entries:
        if entry.table:
            _typeset(read_table(folder / f"{entry.files}.tsv"), tables / f"{entry.id}.tex", entry.caption)
    page = render_page(
        "figures.html.j2",
        study=study,
        parts=[_part(system, figures, entries, folder) for system in dict.fromkeys(entry.system for entry in entries)],
        absent=absent(figures, systems),
        title_of=lambda item: load_system(item.system).description.title,
        validation=[_validation(Path(path), tables) for path in validation],
        commit=commit(),
    )
    write_page(index, page)


def _typeset(table: pd.DataFrame, path: Path, caption: str) -> None:
    rows = list(table.itertuples(index=False, name=None))
    path.write_text(latex.table(list(table.columns), rows, caption=caption, label=path.stem))


def _part(system: str, figures: FigureList, entries: Sequence[Entry], folder: Path) -> dict:
    shown = [_shown(entry, folder) for entry in entries if entry.system == system]
    return {
        "system": system,
        "title": load_system(system).description.title,
        "document": figures.documents[system],
        "figures": shown,
    }


def _shown(entry: Entry, folder: Path) -> dict:
    """What the page needs of one figure: picture, grid of a table, links."""
    links = [f"{entry.files}{suffix}" for suffix in entry.suffixes] + [f"tables/{entry.id}.tex"] * entry.table
    grid = _grid(read_table(folder / f"{entry.files}.tsv")) if entry.table else None
    return {"entry": entry, "uri": _uri(folder / f"{entry.files}.png") if entry.picture else "", "grid": grid,
            "links": links}  # fmt: skip


def _uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _grid(table: pd.DataFrame) -> Grid:
    words = list(takewhile(lambda column: not pd.api.types.is_numeric_dtype(table[column]), table))
    rows = [tuple(_text(value) for value in row) for row in table.head(SHOWN_ROWS).itertuples(index=False, name=None)]
    return Grid(tuple(table.columns), tuple(rows), labels=max(1, len(words)))


def _text(value) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return str(value)


def _validation(path: Path, tables: Path) -> dict:
    """One validation table: copied, set for LaTeX, and as the page shows it."""
    name = f"validation-{path.stem}"
    shutil.copyfile(path, tables / f"{name}.tsv")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    title = table_title(path.stem)
    shown = table[list(VALIDATION)].assign(**{name: table[name].map(short_number) for name in NUMBERS})
    shown = shown.rename(columns=VALIDATION)
    commits = ", ".join(dict.fromkeys(table["commit"]))
    _typeset(shown, tables / f"{name}.tex", f"{title}: validation (commit {commits}).")
    rows = tuple(tuple(value or "–" for value in row) for row in shown.itertuples(index=False, name=None))
    return {
        "name": path.stem,
        "title": title,
        "met": figures_met(table.to_dict("records")),
        "grid": Grid(tuple(shown.columns), rows),
        "links": (f"tables/{name}.tsv", f"tables/{name}.tex"),
    }
