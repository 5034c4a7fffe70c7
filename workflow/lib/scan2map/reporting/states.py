"""What ran for a session, what did not, and why: inventory and failure notes in one place."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAMES = {
    "anat": "Anatomy",
    "dwi": "Diffusion",
    "asl": "Perfusion",
    "bssfp": "bSSFP",
    "ctmr": "CT and MRI",
}
# Modalities that are converted to BIDS for the learned systems, without preprocessing of their own.
CONVERTED_ONLY = ("bssfp", "ctmr")


@dataclass(frozen=True)
class ModalityState:
    """State of one modality of one session: ``runs``, ``incomplete``, ``excluded`` or ``failed``."""

    modality: str
    status: str
    reason: str = ""
    remedy: str = ""

    @property
    def name(self) -> str:
        """The modality in words."""
        return NAMES.get(self.modality, self.modality)

    @property
    def word(self) -> str:
        """The status in words."""
        if self.status == "runs":
            return "converted" if self.modality in CONVERTED_ONLY else "done"
        return self.status


def notice(state: ModalityState) -> str:
    """One sentence on a modality that did not run."""
    reason = f": {state.reason.rstrip('.')}" if state.reason else ""
    remedy = f" What to do: {state.remedy.rstrip('.')}." if state.remedy else ""
    verb = "failed" if state.status == "failed" else f"is {state.word}"
    return f"{state.name} {verb}{reason}.{remedy}"


def read_notes(paths: Iterable) -> list[dict]:
    """Failure notes of rules, each with its file under ``note``."""
    return [json.loads(Path(path).read_text()) | {"note": str(path)} for path in paths]


def _failed(note: Mapping) -> ModalityState:
    rule = note.get("rule", "")
    remedy = f"mend the input, delete {note['note']} and run again" if "note" in note else ""
    return ModalityState(note["modality"], "failed", f"{note['reason']} (step {rule})", remedy)


@cache
def _rows_by_session(path: str, modified_ns: int) -> dict[tuple[str | None, str | None], list[dict[str, str]]]:
    with open(path, newline="", encoding="utf-8") as handle:
        rows = [
            {key: "" if value == "n/a" else value for key, value in row.items()}
            for row in csv.DictReader(handle, delimiter="\t")
        ]
    sessions = defaultdict(list)
    for row in rows:
        sessions[row.get("subject"), row.get("session")].append(row)
    return dict(sessions)


def read_rows(path, subject: str | None = None, session: str | None = None) -> list[dict[str, str]]:
    """Rows of a tab-separated table as texts, ``n/a`` as empty; only those of one session where one is given."""
    # The workflow asks once per session: the table is parsed again only when it has changed.
    sessions = _rows_by_session(str(path), os.stat(path).st_mtime_ns)
    chosen = sessions.values() if subject is None else [sessions.get((subject, session), [])]
    return [dict(row) for rows in chosen for row in rows]


def session_states(
    inventory: Iterable[Mapping[str, str]], notes: Iterable[Mapping], subject: str, session: str
) -> dict[str, ModalityState]:
    """State of every modality of one session, in the inventory's order; a failed step overrules ``runs``.

    Args:
        inventory: rows with subject, session, modality, status, reason, remedy.
        notes: failure notes of any sessions.
        subject: label.
        session: label.
    """
    states = {
        row["modality"]: ModalityState(row["modality"], row["status"], row["reason"], row["remedy"])
        for row in inventory
        if (row["subject"], row["session"]) == (subject, session)
    }
    for note in notes:
        if (note["subject"], note["session"]) == (subject, session) and note["modality"] in states:
            states[note["modality"]] = _failed(note)
    return states


def sessions_of(inventory: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """The (subject, session) pairs of an inventory, sorted."""
    return sorted({(row["subject"], row["session"]) for row in inventory})
