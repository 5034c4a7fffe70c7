"""Tables of a study: read from TSV, every cell checked against its schema, with messages that name row and column."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from scan2map.config import load_schema
from scan2map.errors import SettingError

MISSING = {"", "n/a"}


def _header(path: Path, found: list[str], schema: dict) -> None:
    known = list(schema["properties"])
    unknown = [column for column in found if column not in known]
    absent = [column for column in schema.get("required", []) if column not in found]
    if not unknown and not absent:
        return
    problem = f"unknown column {unknown[0]!r}" if unknown else f"the column {absent[0]!r} is missing"
    raise SettingError(
        f"The table cannot be read: {problem}",
        file=path,
        found=", ".join(found),
        allowed=", ".join(known),
        remedy="correct the first line; columns are separated by one tab",
    )


def _typed(text: str, schema: dict) -> Any:
    """The cell as its schema's type where it can be converted; otherwise the text, which the schema then refuses."""
    convert = {"integer": int, "number": float}.get(schema.get("type"))
    try:
        return convert(text) if convert else text
    except ValueError:
        return text


def _cells(row: dict, schema: dict) -> dict[str, Any]:
    columns = schema["properties"]
    return {
        name: child.get("default") if (row.get(name) or "").strip() in MISSING else _typed(row[name].strip(), child)
        for name, child in columns.items()
    }


def _checked(path: Path, line: int, cells: dict, schema: dict) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    for name, child in schema["properties"].items():
        value = cells[name]
        if value is None and name in schema.get("required", []):
            problem = f"Line {line}, column {name!r} is empty"
            raise SettingError(problem, file=path, allowed=child["description"], remedy="fill the cell")
        error = None if value is None else next(Draft202012Validator(child).iter_errors(value), None)
        if error:
            allowed = child.get("pattern") or child.get("enum") or child.get("type")
            problem = f"Line {line}, column {name!r} is not valid ({error.message})"
            raise SettingError(problem, file=path, found=value, allowed=allowed, remedy=child["description"])
    return cells


def read_table(path, name: str) -> list[dict[str, Any]]:
    """Read a table of the study.

    Args:
        path: the TSV file.
        name: the schema of one row, ``workflow/schemas/<name>.schema.yaml``.

    Returns:
        One dictionary per row: every column of the schema, typed; empty cells and ``n/a`` hold the default.

    Raises:
        SettingError: missing file, unknown or missing column, empty required cell, or a value that is not allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError("The table is missing", file=path, remedy=f"create it, or correct input.{name}")
    schema = load_schema(name)
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle, delimiter="\t")
        _header(path, list(reader.fieldnames or []), schema)
        rows = [(reader.line_num, row) for row in reader if any((cell or "") for cell in row.values())]
    for line, row in rows:
        if None in row or None in row.values():
            found = "too many cells" if None in row else "too few cells"
            problem = f"Line {line} does not fit the header"
            raise SettingError(problem, file=path, found=found, remedy="separate the cells by one tab each")
    return [_checked(path, line, _cells(row, schema), schema) for line, row in rows]


def write_table(path, rows: list[dict], columns: tuple[str, ...]) -> None:
    """Write a TSV table under a temporary name, then rename it; ``None`` and empty cells become ``n/a``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    with partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            cells = ("n/a" if row[column] in (None, "") else row[column] for column in columns)
            writer.writerow([" ".join(str(cell).split()) for cell in cells])
    os.replace(partial, path)


def read_participants(path) -> list[dict[str, Any]]:
    """The table of subjects: one row per session, in the table's order.

    Raises:
        SettingError: as :func:`read_table`; also an empty table, or a session listed twice.
    """
    rows = read_table(path, "participants")
    if not rows:
        raise SettingError("The table of subjects is empty", file=path, remedy="add one row per session")
    pairs = [(row["subject"], row["session"]) for row in rows]
    doubled = sorted({pair for pair in pairs if pairs.count(pair) > 1})
    if doubled:
        found = f"several rows for subject {doubled[0][0]}, session {doubled[0][1]}"
        raise SettingError("A session is listed twice", file=path, found=found, allowed="one row per session")
    return rows


def dicom_folder(row: dict[str, Any], path=None) -> Path:
    """The DICOM folder of a row of the table of subjects; environment variables in it are filled in.

    Raises:
        SettingError: the cell is empty, or names an environment variable that is not set.
    """
    where = f"subject {row['subject']}, session {row['session']}"
    if row["dicom"] is None:
        raise SettingError(f"The column 'dicom' is empty for {where}", file=path, remedy="name the session's folder")
    folder = os.path.expandvars(row["dicom"])
    if "$" in folder:
        remedy = "set the environment variable, or write the path"
        raise SettingError(f"The DICOM folder of {where} is not known", file=path, found=row["dicom"], remedy=remedy)
    return Path(folder).expanduser()


def _reason(row: dict[str, Any]) -> str:
    """The reason of an exclusion, with who decided it and when, where that is given."""
    decided = " ".join([f"by {row['who']}"] * bool(row["who"]) + [f"on {row['date']}"] * bool(row["date"]))
    return f"{row['reason'].rstrip('.')} (decided {decided})" if decided else row["reason"]


def read_exclusions(path, known: list[tuple[str, str]]) -> dict[tuple[str, str, str], str]:
    """The sessions that the user leaves out.

    Args:
        path: the TSV file; ``None`` or empty means no exclusions.
        known: (subject, session) of everybody in the study.

    Returns:
        (subject, session, modality) → reason, with who decided it and when; modality ``all`` is the whole session.

    Raises:
        SettingError: as :func:`read_table`; also a subject or session that is not in the study.
    """
    if not path:
        return {}
    rows = read_table(path, "exclusions")
    subjects = {subject for subject, _ in known}
    for row in rows:
        session = row["session"]
        if row["subject"] not in subjects or (session and (row["subject"], session) not in known):
            raise SettingError(
                "The exclusions name a session that is not in the study",
                file=path,
                found=f"subject {row['subject']}, session {session or 'all'}",
                allowed=", ".join(f"{subject}/{session}" for subject, session in known),
                remedy="correct the label, or remove the line",
            )
    return {
        (subject, session, row["modality"]): _reason(row)
        for row in rows
        for subject, session in known
        if subject == row["subject"] and row["session"] in (None, session)
    }
