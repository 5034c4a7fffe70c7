"""Tables of results as pandas frames, with their data dictionaries (BIDS: ``n/a`` for missing, a JSON file beside)."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from scan2map.errors import DataError
from scan2map.provenance import write_sidecar


def write_frame(path, table: pd.DataFrame, columns: dict[str, dict], **sidecar) -> None:
    """Write a table and its data dictionary, each whole or not at all.

    Args:
        path: the .tsv file.
        table: its rows.
        columns: for every column, in order, a dictionary with ``Description`` and, where it has one, ``Units``.
        sidecar: arguments of :func:`scan2map.provenance.write_sidecar`.

    Raises:
        ValueError: a column has no description, or a description no column.
    """
    if list(table.columns) != list(columns):
        raise ValueError(f"columns {list(table.columns)} are not those described: {list(columns)}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    table.to_csv(partial, sep="\t", index=False, na_rep="n/a", float_format="%.8g", lineterminator="\n")
    os.replace(partial, path)
    write_sidecar(path, **sidecar, **columns)


def read_frame(path, columns=()) -> pd.DataFrame:
    """Read a table.

    Args:
        path: the .tsv file.
        columns: columns that must be there.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    try:
        table = pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"The table cannot be read ({error})", file=path, remedy="delete it and run again") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(
            "The table lacks columns", file=path, found=", ".join(table.columns), allowed=f"with {', '.join(missing)}"
        )
    return table
