"""New sessions on disk: DICOM folders that no row of the table of subjects names, and the rows proposed for them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scan2map.bids.dicom_files import UNREADABLE
from scan2map.errors import SettingError
from scan2map.tables import dicom_folder

Row = dict[str, str]
HEADER = ("StudyInstanceUID", "PatientID", "StudyDate", "StudyTime")


@dataclass(frozen=True)
class FoundSession:
    """A session's folder, the person it belongs to (never printed), and when it was scanned."""

    folder: Path
    person: str
    when: str


def _first_header(folder: Path):
    """The header of the first DICOM image of a folder; ``None`` if it holds none."""
    import pydicom

    for path in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*HEADER, "SOPClassUID"])
        except UNREADABLE:
            continue
        if header.get("StudyInstanceUID"):
            return header
    return None


def _series_folders(root: Path, known: set[Path]) -> Iterator[tuple[Path, object]]:
    for name, children, _ in os.walk(root):
        folder = Path(name)
        if folder.resolve() in known:
            children.clear()
            continue
        header = _first_header(folder)
        if header is not None:
            yield folder, header


def find_sessions(root: Path, known: set[Path]) -> list[FoundSession]:
    """The sessions below a folder, one per DICOM study, outside the folders that are known.

    Args:
        root: where to look; one file of each folder is read.
        known: resolved folders that the table of subjects names.
    """
    studies = defaultdict(list)
    for folder, header in _series_folders(root, known):
        studies[str(header.StudyInstanceUID)].append((folder, header))
    sessions = []
    for parts in studies.values():
        header = parts[0][1]
        folder = Path(os.path.commonpath([folder for folder, _ in parts]))
        when = f"{header.get('StudyDate') or ''}{header.get('StudyTime') or ''}"
        sessions.append(FoundSession(folder, str(header.get("PatientID") or folder), when))
    return sorted(sessions, key=lambda session: (session.when, str(session.folder)))


def _next_label(taken: set[str], width: int) -> str:
    number = 1 + max((int(label) for label in taken if label.isdigit()), default=0)
    return f"{number:0{width}d}"


def propose_rows(found: list[FoundSession], table: list[Row], people: dict[str, str]) -> list[Row]:
    """Rows for new sessions: the next free label for a new person, the next session for one who is in the study.

    Labels are numbers: names and hospital numbers do not belong into a table of subjects.

    Args:
        found: the new sessions, oldest first.
        table: the table of subjects.
        people: person → subject label, of the sessions in the table.
    """
    sessions = defaultdict(set)
    for row in table:
        sessions[row["subject"]].add(row["session"])
    width = max((len(label) for label in sessions if label.isdigit()), default=2)
    labels, rows = dict(people), []
    for session in found:
        subject = labels.setdefault(session.person, _next_label(set(sessions), width))
        number = _next_label(sessions[subject], 2)
        sessions[subject].add(number)
        rows.append({"subject": subject, "session": number, "dicom": str(session.folder)})
    return rows


def _people(table: list[Row]) -> dict[str, str]:
    """Who is in the study already: read from the first header of each known session."""
    people = {}
    for row in table:
        folder = dicom_folder(row)
        sessions = find_sessions(folder, set()) if folder.is_dir() else []
        people |= {session.person: row["subject"] for session in sessions}
    return people


def discover(settings: dict, table: list[Row]) -> list[Row]:
    """Propose rows of the table of subjects for DICOM folders that it does not name.

    Args:
        settings: the configuration block ``input``.
        table: the table of subjects.

    Raises:
        SettingError: ``input.discover_in`` is not set or is no folder, or the data do not come in as DICOM.
    """
    root = settings["discover_in"]
    if settings["kind"] != "dicom" or not root or not Path(os.path.expandvars(root)).is_dir():
        problem = "There is no folder in which to look for new sessions"
        remedy = "set input.discover_in to the folder that holds the scanner's exports, and input.kind to dicom"
        raise SettingError(problem, found=root, remedy=remedy)
    known = {dicom_folder(row).resolve() for row in table}
    return propose_rows(find_sessions(Path(os.path.expandvars(root)), known), table, _people(table))
