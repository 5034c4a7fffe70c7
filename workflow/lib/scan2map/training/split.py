"""Which subject trains, validates and tests: read once, refused when a subject is in two parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scan2map.errors import SettingError
from scan2map.tables import read_table

PARTS = ("train", "validation", "test")


def read_split(path) -> list[dict[str, Any]]:
    """The split table.

    Raises:
        SettingError: as :func:`scan2map.tables.read_table`; also a subject that is listed twice in a fold.
    """
    rows = read_table(path, "split")
    keys = [(row["fold"], row["cohort"], row["subject"]) for row in rows]
    doubled = sorted({key for key in keys if keys.count(key) > 1})
    if doubled:
        fold, cohort, subject = doubled[0]
        raise SettingError(
            "A subject is in two parts of the split",
            file=path,
            found=f"{cohort} subject {subject} in fold {fold}",
            allowed="one row per subject and fold",
            remedy="keep all sessions of a subject in one part",
        )
    return rows


def subjects(rows: Iterable[Mapping[str, Any]], cohort: str, fold: str, part: str) -> list[str]:
    """Labels of one part, in the order of the table."""
    chosen = {"cohort": cohort, "fold": fold, "part": part}
    return [row["subject"] for row in rows if all(row[key] == value for key, value in chosen.items())]


def require_parts(rows: Iterable[Mapping[str, Any]], cohort: str, fold: str, path) -> None:
    """Stop unless a fold has somebody to train on and somebody to test on.

    Raises:
        SettingError: a part is empty.
    """
    rows = list(rows)
    empty = [part for part in ("train", "test") if not subjects(rows, cohort, fold, part)]
    if empty:
        raise SettingError(
            f"The split has nobody in the part {empty[0]!r}",
            file=path,
            found=f"cohort {cohort}, fold {fold}",
            remedy="add subjects to the table",
        )
