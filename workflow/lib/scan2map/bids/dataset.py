"""The files of a BIDS data set that belong to no session: description, README, table of subjects, validator's list."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import scan2map
from scan2map.provenance import write_json
from scan2map.tables import write_table

BIDS_VERSION = "1.10.0"
EXPERT = "derivatives/expert"  # masks drawn by an expert are not raw data in BIDS
PARTICIPANT_COLUMNS = {
    "participant_id": {"Description": "Subject label"},
    "age": {"Description": "Age at the first session in the table, 89 for 89 and above", "Units": "year"},
    "sex": {"Description": "Sex in the DICOM header", "Levels": {"F": "female", "M": "male", "O": "other"}},
}
README = """# {title}

Converted from DICOM by scan2map {version} with BIDScoin and dcm2niix.

The study map that named the files, and the table that says which series were used and why the others were not, lie
beside this data set: `series.tsv` and `inventory.tsv`. Names, dates, places and device numbers were removed from the
sidecars. Masks that an expert drew are in `derivatives/expert`.
"""


def _description(title: str, kind: str, software: dict[str, str]) -> dict[str, Any]:
    made_by = [{"Name": "scan2map", "Version": scan2map.__version__}]
    made_by += [{"Name": name, "Version": version} for name, version in sorted(software.items())]
    return {"Name": title, "BIDSVersion": BIDS_VERSION, "DatasetType": kind, "GeneratedBy": made_by}


def _participants(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["status"] == "converted":
            row = {"participant_id": f"sub-{record['subject']}", "age": record["age_years"], "sex": record["sex"]}
            rows.setdefault(record["subject"], row)
    return list(rows.values())


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(text)
    partial.replace(path)


def write_dataset_files(root, records: list[dict[str, Any]], *, title: str, ignored: Iterable[str]) -> None:
    """Write the group files of a converted data set.

    Args:
        root: the data set.
        records: of the sessions, as :func:`scan2map.bids.convert.convert_session` returns them.
        title: of the study.
        ignored: file patterns that the BIDS validator skips.
    """
    root = Path(root)
    (root / EXPERT).mkdir(parents=True, exist_ok=True)
    software = {name: version for record in records for name, version in record["software"].items()}
    write_json(root / "dataset_description.json", _description(title, "raw", software))
    write_json(root / EXPERT / "dataset_description.json", _description(f"{title}: expert masks", "derivative", {}))
    write_table(root / "participants.tsv", _participants(records), tuple(PARTICIPANT_COLUMNS))
    write_json(root / "participants.json", {k: v for k, v in PARTICIPANT_COLUMNS.items() if k != "participant_id"})
    _write_text(root / "README.md", README.format(title=title, version=scan2map.__version__))
    _write_text(root / ".bidsignore", "".join(f"{pattern}\n" for pattern in ignored))
