"""Which series of a session are converted, and a tidy folder of links for BIDScoin to read them from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from scan2map.bids.dicom_files import read_full_header
from scan2map.bids.dicom_series import DicomSeries, find_problem
from scan2map.bids.roles import MODALITY_OF_SUFFIX
from scan2map.bids.study_map import MapEntry, StudyMap


@dataclass
class SeriesPlan:
    """What happens to one series.

    Attributes:
        series: the series.
        entry: its entry of the study map, if any.
        reason: why it is not used; empty while it is.
        is_broken: the study wants it, but it cannot be used.
        images: the images it became.
    """

    series: DicomSeries
    entry: MapEntry | None = None
    reason: str = ""
    is_broken: bool = False
    images: list[Path] = field(default_factory=list)

    @property
    def is_used(self) -> bool:
        """Whether the series is converted."""
        return not self.reason

    @property
    def modality(self) -> str:
        """The modality it belongs to; empty if the study does not want it."""
        wanted = self.entry is not None and not self.entry.is_left_out
        return MODALITY_OF_SUFFIX.get(self.entry.suffix, "") if wanted else ""

    @property
    def folder_name(self) -> str:
        """A name for its staged folder, unique in its session, free of the scanner's own names."""
        return f"{self.series.number:05d}-{str(self.series.header.SeriesInstanceUID)[-12:].replace('.', '-')}"

    def break_off(self, reason: str) -> None:
        """Give the series up although the study wants it."""
        self.reason, self.is_broken = reason, True


def _unwanted(series: DicomSeries, entry: MapEntry | None) -> str | None:
    if entry is not None:
        return entry.reason if entry.is_left_out else None
    if not series.is_image:
        return f"not an image ({series.header.SOPClassUID.name})" if "SOPClassUID" in series.header else "not an image"
    if series.is_derived:
        return f"derived by the scanner ({' '.join(series.image_type[2:]) or 'DERIVED'})"
    return "not in the study map"


def _plan(series: DicomSeries, study_map: StudyMap) -> SeriesPlan:
    entry = study_map.match(read_full_header(series.files[0].path))
    reason = _unwanted(series, entry)
    if reason:
        return SeriesPlan(series, entry, reason)
    problem = find_problem(series)
    return SeriesPlan(series, entry, problem or "", is_broken=bool(problem))


def plan_session(all_series: list[DicomSeries], study_map: StudyMap) -> list[SeriesPlan]:
    """Decide for every series of a session whether it is converted, and if not, why."""
    return [_plan(series, study_map) for series in all_series]


def stage(plans: list[SeriesPlan], raw: Path, subject: str, session: str) -> None:
    """Link the files of the series to convert into ``raw/sub-<subject>/ses-<session>/<series>/``."""
    for plan in plans:
        folder = raw / f"sub-{subject}" / f"ses-{session}" / plan.folder_name
        folder.mkdir(parents=True)
        for number, file in enumerate(plan.series.files, start=1):
            (folder / f"{number:06d}.dcm").symlink_to(file.path.resolve())
