"""From the DICOM folder of one session to its BIDS folder and a record of what happened.

Every session is converted in a fresh folder of its own and moved in place when it is complete, so that sessions can
be converted at the same time. Bad data never stop the run: they end in the record with a plain reason.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scan2map.bids import anonymise, converted, sidecars
from scan2map.bids.dataset import EXPERT
from scan2map.bids.dicom_files import DicomFile, read_folder
from scan2map.bids.dicom_series import group_series, relative_names
from scan2map.bids.staging import SeriesPlan, plan_session, stage
from scan2map.bids.study_map import StudyMap, read_study_map
from scan2map.errors import DataError, ToolError
from scan2map.provenance import write_json
from scan2map.tools import bidscoin, dcm2niix

LOGGER = logging.getLogger("scan2map")
RETRIES = 10
OLDEST_AGE_YEARS = 89  # higher ages identify (HIPAA safe harbour): they are given as 89


@dataclass(frozen=True)
class Conversion:
    """One session to convert.

    Attributes:
        source: folder with its DICOM files.
        subject, session: labels.
        bids: root of the BIDS data set.
        remove_metadata: sidecar keys to remove.
    """

    source: Path
    subject: str
    session: str
    bids: Path
    remove_metadata: tuple[str, ...] = ()

    @property
    def relative(self) -> Path:
        """The session's folder below the root."""
        return Path(f"sub-{self.subject}", f"ses-{self.session}")


def _read_files(job: Conversion) -> list[DicomFile]:
    """The DICOM files of the session.

    Raises:
        DataError: no folder, no files, no DICOM, or several patients.
    """
    remedy = "check the column 'dicom' of the table of subjects, and the export"
    if not job.source.is_dir():
        raise DataError("The DICOM folder does not exist", remedy=remedy)
    files, others = read_folder(job.source)
    for path in others:
        LOGGER.warning("not a readable DICOM file: %s", path)
    if not files and not others:
        raise DataError("The DICOM folder is empty", remedy=remedy)
    if not files:
        found = f"{len(others)} files, none of them readable as DICOM"
        raise DataError("The DICOM folder holds no DICOM file", found=found, remedy=remedy)
    patients = {(str(file.header.get("PatientID")), str(file.header.get("PatientName"))) for file in files}
    if len(patients) > 1:
        found = f"{len(patients)} different patient names or IDs"
        raise DataError("The DICOM folder holds scans of several patients", found=found, remedy="split the folder")
    return files


def _identifiers(job: Conversion, files: list[DicomFile]) -> set[str]:
    label = f"sub-{job.subject}_ses-{job.session}".lower()
    found = set().union(*(anonymise.patient_identifiers(file.header) for file in files[:: max(1, len(files) // 50)]))
    return {identifier for identifier in found if identifier.lower() not in label}


def _refuse_shared_numbers(plans: list[SeriesPlan]) -> None:
    """BIDScoin names its output by series; two that cannot be told apart would be mixed up."""
    counts = Counter(plan.folder_name for plan in plans if plan.is_used)
    for plan in plans:
        if plan.is_used and counts[plan.folder_name] > 1:
            plan.break_off("another series of the session has the same number and identifier")


def _run_bidscoin(job: Conversion, study_map: StudyMap, plans: list[SeriesPlan], scratch: Path) -> Path:
    """Convert the staged series; returns the session's folder in the scratch data set."""
    used = [plan for plan in plans if plan.is_used]
    bids = scratch / "bids"
    stage(used, scratch / "raw", job.subject, job.session)
    for message in bidscoin.convert(
        scratch / "raw", bids, subject=job.subject, study_map=study_map.path, settings=scratch / "settings"
    ):
        LOGGER.warning("BIDScoin: %s", message)
    folder = bids / job.relative
    folder.mkdir(parents=True, exist_ok=True)
    strays = converted.assign_images(used, folder, converted.read_provenance(bids))
    for image in strays:
        LOGGER.warning("an image that belongs to no series is removed: %s", image.name)
        converted.remove_image(image)
    return folder


def _check_images(plans: list[SeriesPlan]) -> None:
    for plan in (plan for plan in plans if plan.is_used):
        problem = converted.find_conversion_problem(plan.series, plan.images)
        if problem:
            _give_up(plan, problem)


def _give_up(plan: SeriesPlan, reason: str) -> None:
    for image in plan.images:
        converted.remove_image(image)
    plan.images = []
    plan.break_off(reason)


def _complete_metadata(plans: list[SeriesPlan], bids_root: Path) -> None:
    for plan in (plan for plan in plans if plan.is_used):
        for image in plan.images:
            sidecars.complete_sidecar(image, plan.entry)
    m0scans = _images(plans, "m0scan")
    for plan in (plan for plan in plans if plan.is_used and plan.entry.suffix == "asl"):
        try:
            sidecars.complete_asl(plan.images[0], plan.series, plan.entry, bool(m0scans))
        except DataError as error:
            _give_up(plan, str(error))
    targets = [path for path in _images(plans, "asl") if sidecars.read_sidecar(path).get("M0Type") == "Separate"]
    for image in m0scans:
        sidecars.link_m0scan(image, targets, bids_root)


def _images(plans: list[SeriesPlan], suffix: str) -> list[Path]:
    return [image for plan in plans if plan.is_used and plan.entry.suffix == suffix for image in plan.images]


def _anonymise(job: Conversion, plans: list[SeriesPlan], folder: Path, identifiers: Iterable[str]) -> None:
    """Clean sidecars, blank and compress images, drop the scanner's clock times.

    Raises:
        DataError: an identifier of the patient is still there.
    """
    for table in folder.glob("*_scans.tsv"):
        table.unlink()
    for plan in (plan for plan in plans if plan.is_used):
        plan.images = [_publish_image(image, job, identifiers) for image in plan.images]
    left = anonymise.files_naming_patient(folder, identifiers)
    if left:
        raise DataError(
            "The patient's name, ID or birth date is still in the converted files",
            found=", ".join(path.suffix for path in left[:3]) + f" ({len(left)} files)",
            remedy="add the sidecar key that holds it to input.remove_metadata",
        )


def _publish_image(image: Path, job: Conversion, identifiers: Iterable[str]) -> Path:
    anonymise.anonymise_sidecar(sidecars.sidecar_of(image), job.remove_metadata, identifiers)
    if image.name.endswith(".nii.gz"):
        return image
    target = image.with_name(image.name + ".gz")
    anonymise.compress_image(image, target)
    image.unlink()
    return target


def _separate_masks(job: Conversion, plans: list[SeriesPlan], scratch: Path) -> None:
    """Move expert masks out of the raw data."""
    for plan in (plan for plan in plans if plan.is_used and plan.entry.suffix == "mask"):
        plan.images = [_move_image(image, scratch / "masks" / job.relative / "anat") for image in plan.images]


def _move_image(image: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    for path in list(image.parent.glob(f"{stem}.*")):
        path.rename(folder / path.name)
    return folder / image.name


def _replace_folder(new: Path, target: Path, scratch: Path) -> None:
    """Put a finished folder in place of an old one; without a new one, the old one goes."""
    if target.exists():
        target.rename(Path(tempfile.mkdtemp(dir=scratch)) / "old")
    if new.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(new, target)


def _publish(job: Conversion, plans: list[SeriesPlan], folder: Path, scratch: Path) -> None:
    _separate_masks(job, plans, scratch)
    for empty in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(empty.iterdir()):
            empty.rmdir()
    _replace_folder(folder, job.bids / job.relative, scratch)
    _replace_folder(scratch / "masks" / job.relative, job.bids / EXPERT / job.relative, scratch)
    for plan in (plan for plan in plans if plan.is_used):
        LOGGER.info("series %d became %s", plan.series.number, ", ".join(path.name for path in plan.images))


def _final_path(job: Conversion, plan: SeriesPlan, image: Path) -> str:
    root = f"{EXPERT}/" if plan.entry and plan.entry.suffix == "mask" else ""
    return f"{root}{job.relative.as_posix()}/{image.parent.name}/{image.name}"


def _series_record(job: Conversion, plan: SeriesPlan, identifiers: Iterable[str]) -> dict[str, Any]:
    names_patient = any(identifier.lower() in plan.series.description.lower() for identifier in identifiers)
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
        "slices": plan.series.slices if plan.series.is_image else None,
        "volumes": plan.series.volumes if plan.series.is_image else None,
        "files": [_final_path(job, plan, image) for image in plan.images],
    }


def _age_years(files: list[DicomFile]) -> int | None:
    text = next((str(file.header.PatientAge) for file in files if file.header.get("PatientAge")), "")
    digits, unit = text[:-1], text[-1:]
    if not digits.isdigit() or unit not in "YMWD":
        return None
    per_year = {"Y": 1, "M": 12, "W": 52, "D": 365}[unit]
    return min(int(digits) // per_year, OLDEST_AGE_YEARS)


def _sex(files: list[DicomFile]) -> str | None:
    return next(
        (str(file.header.PatientSex) for file in files if file.header.get("PatientSex") in ("M", "F", "O")), None
    )


def _log_broken(job: Conversion, plans: list[SeriesPlan]) -> None:
    """Name the files of broken series in the log, which stays with the study; the record must not hold file names."""
    for plan in (plan for plan in plans if plan.is_broken):
        names = ", ".join(relative_names(plan.series, job.source)[:3])
        LOGGER.warning(
            "series %d (%s): %s; files: %s ...", plan.series.number, plan.series.description, plan.reason, names
        )


def _convert(job: Conversion, study_map: StudyMap, scratch: Path) -> dict[str, Any]:
    files = _read_files(job)
    identifiers = _identifiers(job, files)
    plans = plan_session(group_series(files), study_map)
    _refuse_shared_numbers(plans)
    if any(plan.is_used for plan in plans):
        folder = _run_bidscoin(job, study_map, plans, scratch)
        _check_images(plans)
        _complete_metadata(plans, scratch / "bids")
        _anonymise(job, plans, folder, identifiers)
        _publish(job, plans, folder, scratch)
    _log_broken(job, plans)
    used = any(plan.is_used for plan in plans)
    return {
        "status": "converted" if used else "failed",
        "reason": "" if used else "No series of the session could be used",
        "age_years": _age_years(files),
        "sex": _sex(files),
        "series": [_series_record(job, plan, identifiers) for plan in plans],
    }


def _discard(job: Conversion, scratch: Path) -> None:
    """A session that failed leaves nothing of an earlier conversion behind."""
    for root in (job.bids, job.bids / EXPERT):
        _replace_folder(scratch / "nothing", root / job.relative, scratch)


def _make_scratch(root: Path, prefix: str) -> Path:
    """A private folder; another session that ends just now may remove the empty root, hence the second try."""
    for _ in range(RETRIES):
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=root.resolve()))
    raise ToolError("The folder for temporary files cannot be made", file=root)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another session is still at work there
        folder.rmdir()


def convert_session(job: Conversion, study_map, record, scratch_root) -> dict[str, Any]:
    """Convert one session from DICOM to BIDS.

    Args:
        job: what to convert, and where to.
        study_map: BIDScoin's YAML map of the study.
        record: the JSON file to write: what became of every series, and why.
        scratch_root: folder for temporary files, on the same file system as the BIDS data set.

    Returns:
        The record.

    Raises:
        SettingError: the study map is missing or invalid.
        ToolError: BIDScoin or dcm2niix is missing or crashed. Bad data raise nothing.
    """
    study = read_study_map(study_map)
    versions = {"bidscoin": bidscoin.version(), "dcm2niix": dcm2niix.version()}
    scratch = _make_scratch(Path(scratch_root), f"{job.subject}-{job.session}-")
    try:
        found = _convert(job, study, scratch)
    except DataError as error:
        LOGGER.warning("%s", error)
        found = {"status": "failed", "reason": str(error), "age_years": None, "sex": None, "series": []}
    try:
        if found["status"] == "failed":
            _discard(job, scratch)
        content = {"subject": job.subject, "session": job.session, "software": versions, **found}
        write_json(record, content)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_if_empty(Path(scratch_root))
    return content
