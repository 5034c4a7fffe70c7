"""Numbers that say which cell of which table they come from.

A source is ``<table>.tsv#cell=<row>,<column>``: relative to the page, counted from 1, the header is row 1 (RFC 7111).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from scan2map.evaluation.long_table import gather_tables, read_table

HEADER_ROWS = 1
SOURCE = "source"


class Cell(str):
    """A text of a table with the cells that its numbers come from, separated by spaces, and the key of its range."""

    source: str
    key: str

    def __new__(cls, text: str, source: str = "", key: str = ""):
        cell = super().__new__(cls, text)
        cell.source, cell.key = source, key
        return cell


def range_key(roi: str, metric: str) -> str:
    """The key under which pages find the range of a regional median over the study."""
    return f"{roi}|{metric}"


def cell_source(table: str, row: int, column: int) -> str:
    """The source of one number.

    Args:
        table: path of the table, relative to the page.
        row: place among the rows of values, from 0.
        column: place among the columns, from 0.
    """
    return f"{table}#cell={row + 1 + HEADER_ROWS},{column + 1}"


def traced(table: pd.DataFrame, path, page, column: str = "value") -> pd.DataFrame:
    """A table as its file holds it, with the source of each row's number in a further column.

    Args:
        table: as read from the file.
        path: the file.
        page: the page that will show it.
        column: that holds the number.
    """
    relative = Path(os.path.relpath(path, Path(page).parent)).as_posix()
    place = list(table.columns).index(column)
    return table.assign(**{SOURCE: [cell_source(relative, row, place) for row in range(len(table))]})


def read_traced(path, page) -> pd.DataFrame:
    """Read a long table with the source of each row."""
    return traced(read_table(path), path, page)


def gather_traced(paths: Iterable, page) -> pd.DataFrame:
    """Stack long tables of several sessions, each row with its source."""
    return gather_tables(paths, read=lambda path: read_traced(path, page))


def sources_of(table: pd.DataFrame) -> list[str]:
    """The sources of a table's rows; empty where it has none."""
    return list(table[SOURCE]) if SOURCE in table else [""] * len(table)
