"""The quality rows of all scans of a modality as one table: one row per scan, one column per figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pandas as pd

from scan2map.derivative_tables import write_frame
from scan2map.evaluation.long_table import DICTIONARY, read_table
from scan2map.provenance import sidecar_path

LABELS = {name: DICTIONARY[name] for name in ("subject", "session")}


def column_words(path) -> dict[str, dict]:
    """What the columns of a table mean, from the data dictionary beside it; columns without words are left out."""
    dictionary = json.loads(sidecar_path(path).read_text())
    return {name: dictionary[name] for name in read_table(path).columns if isinstance(dictionary.get(name), dict)}


def gather_quality(tables: Sequence, scans: Iterable[tuple[str, str]], out) -> None:
    """Stack one-row quality tables and their data dictionaries.

    Args:
        tables: the quality tables of one modality.
        scans: subject and session of each table.
        out: the table to write; a study without scans gives one without rows.
    """
    rows, words = [], {}
    for path, (subject, session) in zip(tables, scans, strict=True):
        known = column_words(path)
        labels = {"subject": subject, "session": session}
        rows.append(labels | read_table(path).iloc[0][list(known)].to_dict())
        words |= known
    columns = LABELS | words
    table = pd.DataFrame(rows, columns=list(columns))
    sources = [str(path) for path in tables]
    write_frame(out, table, columns, step="gather_quality", description="Quality of every scan", sources=sources)
