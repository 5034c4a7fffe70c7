"""Who runs, who does not, and why: the tables that the whole workflow reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scan2map.bids.completeness import Session, Verdict, group_by_session, judge
from scan2map.bids.dataset import write_dataset_files
from scan2map.bids.layout import BidsFile, read_layout
from scan2map.bids.roles import MODALITIES, MODALITY_OF_ROLE, base_asl_role
from scan2map.bids.study_map import read_study_map
from scan2map.errors import SettingError
from scan2map.tables import read_exclusions, write_table

LOGGER = logging.getLogger("scan2map")
INVENTORY_COLUMNS = ("subject", "session", "modality", "status", "reason", "remedy")
SERIES_COLUMNS = ("subject", "session", "number", "description", "modality", "used", "reason", "files")
FILES_COLUMNS = ("subject", "session", "role", "path")
Pair = tuple[str, str]


@dataclass(frozen=True)
class InventoryPaths:
    """The tables to write, and the folder for pybids' index."""

    inventory: Path
    series: Path
    files: Path
    index: Path


def read_records(paths: Iterable) -> list[dict[str, Any]]:
    """The records of the converted sessions."""
    return [json.loads(Path(path).read_text()) for path in paths]


def _assign_labels(files: list[BidsFile], pairs: list[Pair]) -> dict[Pair, list[BidsFile]]:
    """Files by the table's (subject, session); a data set without sessions answers to any session label."""
    groups = group_by_session(files)
    return {pair: groups.get(pair) or groups.get((pair[0], ""), []) for pair in pairs}


def _broken(record: dict[str, Any] | None) -> tuple[dict[str, str], ...]:
    series = record["series"] if record else []
    return tuple(
        {
            "modality": one["modality"],
            "suffix": one["suffix"],
            "text": f"series {one['number']} ({one['description']}) was not used: {one['reason']}",
        }
        for one in series
        if one["broken"]
    )


def _exclusions_of(pair: Pair, exclusions: dict[tuple[str, str, str], str]) -> dict[str, str]:
    return {
        modality: reason for (subject, session, modality), reason in exclusions.items() if (subject, session) == pair
    }


def _failed(record: dict[str, Any] | None, files: list[BidsFile], excluded: dict[str, str]) -> Verdict | None:
    """The verdict on a session of which nothing can be used."""
    if "all" in excluded:
        return None
    if record is not None and record["status"] == "failed" and not _broken(record):
        return Verdict("failed", record["reason"], "correct the export or the table of subjects, then run again")
    if record is None and not files:
        return Verdict("failed", "the session is not in the BIDS data set", "correct the table of subjects")
    return None


def _verdicts(files, record, excluded, expected, asl) -> dict[str, Verdict]:
    failed = _failed(record, files, excluded)
    if failed:
        return dict.fromkeys(MODALITIES, failed)
    return judge(Session(tuple(files), _broken(record), expected, asl), excluded)


def _study_modalities(files: list[BidsFile], records: list[dict[str, Any]]) -> list[str]:
    """The modalities that at least one session has or should have; the T1w image always."""
    found = {"anat"} | {MODALITY_OF_ROLE[file.role] for file in files}
    found |= {one["modality"] for record in records for one in record["series"] if one["modality"]}
    return [modality for modality in MODALITIES if modality in found]


def _row(pair: Pair, modality: str, verdict: Verdict) -> dict[str, str]:
    labels = {"subject": pair[0], "session": pair[1], "modality": modality}
    return labels | {"status": verdict.status, "reason": verdict.reason, "remedy": verdict.remedy}


def _series_rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **{key: one[key] for key in ("number", "description", "modality", "reason")},
            "subject": record["subject"],
            "session": record["session"],
            "used": "yes" if one["used"] else "no",
            "files": " ".join(one["files"]),
        }
        for record in records
        for one in record["series"]
    ]


def _roles_of(file: BidsFile, base: str | None) -> tuple[str, ...]:
    """The roles that a file plays in its session: the base series of labelling is ``asl`` whatever its delays."""
    return (file.role, "asl") if file.role == base != "asl" else (file.role,)


def _files_rows(groups: dict[Pair, list[BidsFile]]) -> list[dict[str, str]]:
    return [
        {"subject": pair[0], "session": pair[1], "role": role, "path": file.path.as_posix()}
        for pair, files in groups.items()
        for file in files
        for role in _roles_of(file, base_asl_role(files))
    ]


def _require_someone(rows: list[dict[str, str]]) -> None:
    """Stop if no modality of any session runs."""
    if any(row["status"] == "runs" for row in rows):
        return
    reasons = [f"{row['subject']}/{row['session']} {row['modality']}: {row['reason']}" for row in rows[:5]]
    raise SettingError(
        "No session can be processed",
        found="; ".join(reasons),
        remedy="correct the table of subjects, the exports, the exclusions or the study map",
    )


def judge_study(
    pairs: list[Pair], files: list[BidsFile], records: list[dict[str, Any]], exclusions, expected, asl
) -> list[dict[str, str]]:
    """The rows of ``inventory.tsv``: every session and every modality of the study, in the order of the table.

    Args:
        pairs: (subject, session) of the table of subjects.
        files: images of the data set.
        records: what became of the sessions' DICOM series; empty for an existing BIDS data set.
        exclusions: as :func:`scan2map.tables.read_exclusions` returns them.
        expected: ``input.expected``.
        asl: what of the block ``asl`` decides whether a labelling series can be used.
    """
    of_record = {(record["subject"], record["session"]): record for record in records}
    groups = _assign_labels(files, pairs)
    rows = []
    for pair in pairs:
        verdicts = _verdicts(groups[pair], of_record.get(pair), _exclusions_of(pair, exclusions), expected, asl)
        rows += [_row(pair, modality, verdicts[modality]) for modality in _study_modalities(files, records)]
    return rows


def _log_rest(rows: list[dict[str, str]]) -> None:
    for row in rows:
        if row["status"] != "runs" or row["reason"]:
            LOGGER.warning("sub-%(subject)s ses-%(session)s %(modality)s: %(status)s: %(reason)s", row)


def build_inventory(
    pairs: list[Pair], record_paths, settings: dict[str, Any], title: str, bids, out: InventoryPaths, *, asl: dict
) -> None:
    """Read what the intake found and write the tables that decide who runs.

    Args:
        pairs: (subject, session) of the table of subjects.
        record_paths: records of the converted sessions; empty for an existing BIDS data set.
        settings: the configuration block ``input``.
        title: of the study.
        bids: the BIDS data set; group files are written to it only if it was converted here.
        out: the tables to write.
        asl: what of the block ``asl`` decides whether a labelling series can be used.

    Raises:
        SettingError: the exclusions name an unknown session, the data set cannot be read, or nobody runs.
    """
    exclusions = read_exclusions(settings["exclusions"], pairs)
    records = read_records(record_paths)
    if settings["kind"] != "bids":
        ignored = read_study_map(settings["bidsmap"]).bidsignore
        write_dataset_files(bids, records, title=title, ignored=ignored)
    files = read_layout(bids, out.index)
    rows = judge_study(pairs, files, records, exclusions, settings["expected"], asl)
    _log_rest(rows)
    _require_someone(rows)
    write_table(out.series, _series_rows(records), SERIES_COLUMNS)
    write_table(out.files, _files_rows(_assign_labels(files, pairs)), FILES_COLUMNS)
    write_table(out.inventory, rows, INVENTORY_COLUMNS)
