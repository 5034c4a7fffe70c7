"""From the DICOM folder of one session to its BIDS folder and a record of what happened.

Every session is converted in a fresh folder of its own and moved in place when it is complete, so that sessions can
be converted at the same time. Bad data never stop the run: they end in the record with a plain reason.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from scan2map.bids import anonymise, converted, sidecars
from scan2map.bids.dicom_files import DicomFile, read_folder
from scan2map.bids.dicom_series import DicomSeries, group_series, relative_names
from scan2map.bids.publish import Conversion, anonymise_session, discard, publish, scratch_folder
from scan2map.bids.record import failure_record, session_record
from scan2map.bids.staging import SeriesPlan, plan_session, stage
from scan2map.bids.study_map import StudyMap, read_study_map
from scan2map.errors import DataError, ToolError
from scan2map.provenance import write_json
from scan2map.tools import bidscoin, dcm2niix

LOGGER = logging.getLogger("scan2map")
__all__ = ["Conversion", "convert_session"]


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
    patients = {str(file.header.get("PatientID") or file.header.get("PatientName") or "") for file in files}
    if len(patients) > 1:
        found = f"{len(patients)} different patient IDs"
        raise DataError("The DICOM folder holds scans of several patients", found=found, remedy="split the folder")
    return files


def _identifiers(job: Conversion, all_series: list[DicomSeries]) -> anonymise.Identifiers:
    found = anonymise.patient_identifiers(series.header for series in all_series)
    return found.without(f"sub-{job.subject}_ses-{job.session}")


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
    try:
        messages = bidscoin.convert(
            scratch / "raw", bids, subject=job.subject, study_map=study_map.path, settings=scratch / "settings"
        )
    except ToolError as error:
        LOGGER.warning("%s", error)
        raise DataError(
            "BIDScoin stopped on this session", remedy="its words are in the log of convert_session"
        ) from error
    for message in messages:
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


def _log_broken(job: Conversion, plans: list[SeriesPlan]) -> None:
    """Name the files of broken series in the log, which stays with the study; the record must not hold file names."""
    for plan in (plan for plan in plans if plan.is_broken):
        names = ", ".join(relative_names(plan.series, job.source)[:3])
        LOGGER.warning(
            "series %d (%s): %s; files: %s ...", plan.series.number, plan.series.description, plan.reason, names
        )


def _convert(job: Conversion, study_map: StudyMap, scratch: Path) -> dict[str, Any]:
    files = _read_files(job)
    series = group_series(files)
    identifiers = _identifiers(job, series)
    plans = plan_session(series, study_map)
    _refuse_shared_numbers(plans)
    if any(plan.is_used for plan in plans):
        folder = _run_bidscoin(job, study_map, plans, scratch)
        _check_images(plans)
        _complete_metadata(plans, scratch / "bids")
        anonymise_session(job, plans, folder, identifiers)
        publish(job, plans, folder, scratch)
    _log_broken(job, plans)
    return session_record(job, files, plans, identifiers)


def _convert_or_explain(job: Conversion, study_map: StudyMap, scratch: Path) -> dict[str, Any]:
    try:
        found = _convert(job, study_map, scratch)
    except DataError as error:
        LOGGER.warning("%s", error)
        found = failure_record(str(error))
    if found["status"] == "failed":
        discard(job, scratch)
    return found


def convert_session(job: Conversion, study_map, record) -> dict[str, Any]:
    """Convert one session from DICOM to BIDS.

    Args:
        job: what to convert, and where to.
        study_map: BIDScoin's YAML map of the study.
        record: the JSON file to write: what became of every series, and why. Temporary files go to ``.scratch``
            beside it, which must be on the file system of the BIDS data set.

    Returns:
        The record.

    Raises:
        SettingError: the study map is missing or invalid.
        ToolError: BIDScoin or dcm2niix is missing. Bad data raise nothing.
    """
    study = read_study_map(study_map)
    versions = {"bidscoin": bidscoin.version(), "dcm2niix": dcm2niix.version()}  # also: both are installed
    with scratch_folder(Path(record).parent / ".scratch", f"{job.subject}-{job.session}-") as scratch:
        found = _convert_or_explain(job, study, scratch)
        content = {"subject": job.subject, "session": job.session, "software": versions, **found}
        write_json(record, content)
    return content
