"""The one long table of all evaluations: a row per subject, session, region, metric and statistic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from scan2map.derivative_tables import write_frame
from scan2map.errors import DataError

DICTIONARY = {
    "subject": {"Description": "Subject label, without the prefix sub-"},
    "session": {"Description": "Session label, without the prefix ses-"},
    "roi": {"Description": "Region: a tissue (GM, WM, CSF), the brain, or <atlas>:<label> of an atlas"},
    "metric": {"Description": "What was measured, e.g. FA, MD, cbf"},
    "statistic": {"Description": "How the voxels of the region were summarised, or compared with a reference"},
    "value": {"Description": "The number, in the unit of its row", "Units": "see column unit"},
    "unit": {"Description": "Unit of value; 1 means a ratio without unit"},
    "n_voxels": {"Description": "Voxels that entered the number (sum of weights where partial volumes weight)"},
    "coverage": {"Description": "Part of the region that lies inside the valid area of the map, 0 to 1", "Units": "1"},
}
COLUMNS = tuple(DICTIONARY)
# Columns that stay text even where they look like numbers.
LABELS = dict.fromkeys(("subject", "session", "id", "number", "unit"), str)


class Row(NamedTuple):
    """One number of the long table; see ``DICTIONARY`` for the columns."""

    roi: str
    metric: str
    statistic: str
    value: float
    unit: str
    n_voxels: int
    coverage: float = 1.0


def long_table(rows: Iterable[Row], *, subject: str, session: str) -> pd.DataFrame:
    """Rows of one session as a table with the columns of ``DICTIONARY``."""
    records = [{"subject": subject, "session": session, **row._asdict()} for row in rows]
    return pd.DataFrame(records, columns=list(COLUMNS))


def write_table(table: pd.DataFrame, path) -> None:
    """Write a tab-separated table under a temporary name, then rename it; missing values are ``n/a`` (BIDS)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    table.to_csv(partial, sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    os.replace(partial, path)


def write_long_table(table: pd.DataFrame, path, *, step: str, description: str, **sidecar) -> None:
    """Write a long table and, beside it, its data dictionary with provenance (more of it in ``sidecar``)."""
    write_frame(path, table, DICTIONARY, step=step, description=description, **sidecar)


def read_table(path) -> pd.DataFrame:
    """Read a tab-separated table; labels such as ``01`` stay text.

    Raises:
        DataError: the file is missing or is not a table.
    """
    try:
        return pd.read_csv(path, sep="\t", dtype=LABELS, na_values=["n/a"], keep_default_na=False)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"The table cannot be read ({error})", file=path, remedy="delete it and run again") from error


def gather_tables(
    paths: Iterable, *, columns: Iterable[str] = COLUMNS, read: Callable[..., pd.DataFrame] = read_table
) -> pd.DataFrame:
    """Stack tables of several sessions, ordered by subject and session; no path gives an empty table."""
    tables = [table for table in map(read, paths) if not table.empty]
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(tables, ignore_index=True).sort_values(["subject", "session"], kind="stable", ignore_index=True)
