"""Who runs: the tables that decide it, read cheaply and often by the workflow's input functions."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from functools import cache
from pathlib import Path

# Every modality is brought together with the T1w image: without the anatomy nothing else of the session runs.
NEEDED = "anat"


@cache
def _rows(path: str, modified_ns: int) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def _read_rows(path) -> list[dict[str, str]]:
    # Input functions ask for the same table once per job: it is parsed again only when it has changed.
    return _rows(str(path), os.stat(path).st_mtime_ns)


@cache
def _files_by_role(path: str, modified_ns: int) -> dict[tuple[str, str, str], list[str]]:
    files = defaultdict(list)
    for row in _rows(path, modified_ns):
        files[row["subject"], row["session"], row["role"]].append(row["path"])
    return dict(files)


def files_of(table, subject: str, session: str, role: str) -> list[str]:
    """The files that play a role in a session, in acquisition order; empty if none."""
    files = _files_by_role(str(table), os.stat(table).st_mtime_ns)
    return list(files.get((subject, session, role), []))


@cache
def _notes(logs: str, modified_ns: tuple[int, ...]) -> list[dict]:
    return [json.loads(path.read_text()) | {"note": str(path)} for path in sorted(Path(logs).glob("*/*.failed.json"))]


def failure_notes(logs) -> list[dict]:
    """The failure notes that rules left in their log folders, each with its file under ``note``."""
    # Asked for once per session: the folders are listed again only when something was written into one.
    folders = os.scandir(logs) if Path(logs).is_dir() else ()
    return _notes(str(logs), tuple(sorted(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())))


def failed_steps(logs) -> set[tuple[str, str, str]]:
    """(subject, session, modality or system) where a step has failed."""
    return {(note["subject"], note["session"], note["modality"]) for note in failure_notes(logs)}


def runnable(inventory, modality: str, logs) -> list[tuple[str, str]]:
    """The sessions whose intake is complete for a modality and where no step of it, or of the anatomy, has failed.

    Args:
        inventory: ``inventory.tsv`` of the intake.
        modality: ``anat``, ``dwi``, ``asl``, ``bssfp`` or ``ctmr``.
        logs: the log folder, where failed steps leave their notes.
    """
    failed = failed_steps(logs)
    pairs = [
        (row["subject"], row["session"])
        for row in _read_rows(inventory)
        if row["modality"] == modality and row["status"] == "runs"
    ]
    return [pair for pair in pairs if not {(*pair, modality), (*pair, NEEDED)} & failed]


def failures_of(subject: str, session: str, logs) -> list[str]:
    """The failure notes of one session."""
    return [note["note"] for note in failure_notes(logs) if (note["subject"], note["session"]) == (subject, session)]


def failure_summary(logs) -> str:
    """What failed and how to go on, for the terminal; empty when nothing failed on its data."""
    notes = failure_notes(logs)
    lines = [f"  sub-{n['subject']} ses-{n['session']} {n['modality']}: {n['reason']} ({n['note']})" for n in notes]
    if not lines:
        return ""
    advice = (
        "The next run leaves them out, and its report names them.\n"
        "To try a step again after mending its input, delete its note (the file in brackets)."
    )
    return "\n".join(["These sessions could not be processed:", *lines, advice])
