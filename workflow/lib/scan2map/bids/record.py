"""What is written down about a session: every series, what became of it, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scan2map.bids.anonymise import Identifiers
from scan2map.bids.dataset import EXPERT
from scan2map.bids.dicom_files import DicomFile
from scan2map.bids.dicom_series import counts
from scan2map.bids.publish import Conversion
from scan2map.bids.staging import SeriesPlan

OLDEST_AGE_YEARS = 89  # higher ages identify (HIPAA safe harbour): they are given as 89
AGE_UNITS_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}


def _final_path(job: Conversion, plan: SeriesPlan, image: Path) -> str:
    root = f"{EXPERT}/" if plan.entry and plan.entry.suffix == "mask" else ""
    return f"{root}{job.relative.as_posix()}/{image.parent.name}/{image.name}"


def _series_record(job: Conversion, plan: SeriesPlan, identifiers: Identifiers) -> dict[str, Any]:
    slices, volumes = counts(plan.series)
    names_patient = identifiers.are_in(plan.series.description)
    return {
        "number": plan.series.number,
        "description": "(removed: it names the patient)" if names_patient else plan.series.description,
        "modality": plan.modality,
        "suffix": plan.entry.suffix if plan.modality else "",
        "used": plan.is_used,
        "reason": plan.reason,
        "broken": plan.is_broken,
        "dicom_files": len(plan.series.files),
        "double_files_ignored": plan.series.doubles,
        "slices": slices,
        "volumes": volumes,
        "files": [_final_path(job, plan, image) for image in plan.images],
    }


def _age_years(files: list[DicomFile]) -> int | None:
    text = next((str(file.header.PatientAge) for file in files if file.header.get("PatientAge")), "")
    digits, unit = text[:-1], text[-1:]
    if not digits.isdigit() or unit not in AGE_UNITS_PER_YEAR:
        return None
    return min(int(digits) // AGE_UNITS_PER_YEAR[unit], OLDEST_AGE_YEARS)


def _sex(files: list[DicomFile]) -> str | None:
    return next(
        (str(file.header.PatientSex) for file in files if file.header.get("PatientSex") in ("M", "F", "O")), None
    )


def session_record(
    job: Conversion, files: list[DicomFile], plans: list[SeriesPlan], identifiers: Identifiers
) -> dict[str, Any]:
    """The record of a session whose DICOM files could be read; it holds no file name of the scanner."""
    used = any(plan.is_used for plan in plans)
    return {
        "status": "converted" if used else "failed",
        "reason": "" if used else "No series of the session could be used",
        "age_years": _age_years(files),
        "sex": _sex(files),
        "series": [_series_record(job, plan, identifiers) for plan in plans],
    }


def failure_record(reason: str) -> dict[str, Any]:
    """The record of a session of which nothing could be used."""
    return {"status": "failed", "reason": reason, "age_years": None, "sex": None, "series": []}
