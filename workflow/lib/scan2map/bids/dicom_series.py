"""What a scanner session holds: its series, how many slices and volumes each must give, and what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from scan2map.bids.dicom_files import GARBLED, DicomFile, whole_number

POSITION_DECIMALS = 2  # slice positions that agree to 0.01 mm are one slice
GAP_FACTOR = 1.5  # a step of more than 1.5 slice distances means that a slice is missing
SPACING_TOLERANCE = 0.1  # slice distances that differ by more than this share of their median are uneven
TILT_TOLERANCE_DEG = 0.5
NUMBERING_GAP_SHARE = 0.1  # more missing instance numbers than this is a numbering habit, not a loss


class Frame(NamedTuple):
    """One 2-D image.

    Attributes:
        position_mm: slice position along the normal.
        normal: direction cosines of the slice normal.
        asl_context: ``CONTROL``, ``LABEL``, ``M_ZERO_SCAN`` or ``None`` (PS3.3 section C.8.13.5.14).
        comment: ImageComments, where some ASL sequences name the volume.
    """

    position_mm: float | None
    normal: tuple[float, ...] | None
    asl_context: str | None
    comment: str = ""


def _functional_group(header: Dataset, frame: Dataset, sequence: str) -> Dataset:
    """A functional group of one frame, of all frames, or the classic header itself (PS3.3 section C.7.6.16)."""
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for holder in (frame, shared[0], header):
        if holder.get(sequence):
            return holder[sequence][0]
    return header


@lru_cache(maxsize=256)
def _normal(orientation: tuple[float, ...]) -> np.ndarray:
    return np.cross(orientation[:3], orientation[3:])


def _asl_context(header: Dataset, frame: Dataset) -> str | None:
    group = _functional_group(header, frame, "MRArterialSpinLabelingSequence")
    return None if group is header else str(group.get("ASLContext") or "") or None


def _frame(header: Dataset, frame: Dataset) -> Frame:
    orientation = _functional_group(header, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    position = _functional_group(header, frame, "PlanePositionSequence").get("ImagePositionPatient")
    named = (_asl_context(header, frame), str(header.get("ImageComments") or ""))
    if not orientation or not position:
        return Frame(None, None, *named)
    normal = _normal(tuple(map(float, orientation)))
    distance = round(float(normal @ np.asarray(position, float)), POSITION_DECIMALS)
    return Frame(distance, tuple(np.round(normal, 3) + 0.0), *named)


def frames_of(file: DicomFile) -> list[Frame]:
    """The frames of a file in stored order: one for classic DICOM, many for enhanced multi-frame DICOM."""
    frames = file.header.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    return [_frame(file.header, frame) for frame in frames]


def _number(file: DicomFile) -> int:
    return whole_number(file.header, "InstanceNumber")


@dataclass(frozen=True)
class DicomSeries:
    """One series of a session: all files with the same SeriesInstanceUID, in instance order, doubles removed."""

    files: tuple[DicomFile, ...]
    doubles: int = 0

    @property
    def header(self) -> Dataset:
        """Header of the first file."""
        return self.files[0].header

    @property
    def number(self) -> int:
        """Series number; 0 if the header has none."""
        return whole_number(self.header, "SeriesNumber")

    @property
    def description(self) -> str:
        """Series description, one line."""
        return " ".join(str(self.header.get("SeriesDescription") or self.header.get("ProtocolName") or "").split())

    @property
    def image_type(self) -> list[str]:
        """The values of ImageType."""
        return [str(value) for value in self.header.get("ImageType") or []]

    @property
    def is_image(self) -> bool:
        """Whether the series holds images, not reports or raw data."""
        return all(file.is_image for file in self.files)

    @property
    def is_derived(self) -> bool:
        """Whether the scanner computed it from other series."""
        return self.image_type[:1] == ["DERIVED"]

    @property
    def is_mosaic(self) -> bool:
        """Whether each image shows all slices of a volume side by side."""
        return "MOSAIC" in self.image_type

    @cached_property
    def frames(self) -> list[Frame]:
        """All frames, in instance order."""
        return [frame for file in self.files for frame in frames_of(file)]

    @cached_property
    def images_per_position(self) -> Counter:
        """How many images there are at each slice position (mm along the normal)."""
        return Counter(frame.position_mm for frame in self.frames)

    @property
    def has_one_orientation(self) -> bool:
        """Whether all slices are parallel and have a position."""
        return len({frame.normal for frame in self.frames}) == 1 and None not in self.images_per_position

    @property
    def slices(self) -> int | None:
        """Slices of a volume, or ``None`` where headers do not tell."""
        if self.is_mosaic:
            count = self.header.get((0x0019, 0x100A))
            return int(count.value) if count is not None else None
        return len(self.images_per_position) if self.has_one_orientation else None

    @property
    def volumes(self) -> int | None:
        """Volumes of the series, or ``None`` where headers do not tell."""
        if self.is_mosaic:
            return len(self.files)
        return max(self.images_per_position.values()) if self.has_one_orientation else None

    @property
    def volume_frames(self) -> list[Frame]:
        """One frame of each volume (the one at the first slice's position), in volume order."""
        first = self.frames[0].position_mm
        return [frame for frame in self.frames if frame.position_mm == first]

    @property
    def volume_comments(self) -> list[str]:
        """ImageComments of each volume, in volume order."""
        return [frame.comment for frame in self.volume_frames]


def group_series(files: list[DicomFile]) -> list[DicomSeries]:
    """Sort files into series by SeriesInstanceUID, ordered by series number."""
    groups: dict[str, dict[str, DicomFile]] = defaultdict(dict)
    for file in files:
        groups[file.header.SeriesInstanceUID].setdefault(str(file.header.get("SOPInstanceUID", file.path)), file)
    copies = Counter(file.header.SeriesInstanceUID for file in files)
    series = [
        DicomSeries(
            tuple(sorted(group.values(), key=lambda file: (_number(file), file.path))), copies[uid] - len(group)
        )
        for uid, group in groups.items()
    ]
    return sorted(series, key=lambda one: (one.number, one.description, one.header.SeriesInstanceUID))


def _truncated(series: DicomSeries) -> str | None:
    bad = [file for file in series.files if file.is_truncated]
    if not bad:
        return None
    return f"{len(bad)} of {len(series.files)} DICOM files are truncated (first: image {_number(bad[0])})"


def _uneven(series: DicomSeries) -> str | None:
    counts = series.images_per_position
    short = [position for position, count in counts.items() if count < series.volumes]
    if not short:
        return None
    missing = sum(series.volumes - counts[position] for position in short)
    whole = f"{series.volumes} volumes of {len(counts)} slices"
    return f"images are missing: {missing} of {series.volumes * len(counts)} ({whole})"


def _gaps(series: DicomSeries) -> str | None:
    positions = np.sort(np.array(list(series.images_per_position)))
    if len(positions) < 3:
        return None
    steps = np.diff(positions)
    gaps = np.flatnonzero(steps > GAP_FACTOR * np.median(steps))
    if not gaps.size:
        return None
    low, high = positions[gaps[0]], positions[gaps[0] + 1]
    return f"slices are missing: a gap between {low:g} and {high:g} mm where slices lie {np.median(steps):g} mm apart"


def _spacing(series: DicomSeries) -> str | None:
    """Uneven slice distances, as in some CTs (fine at the base of the skull): NIfTI has room for one distance only."""
    steps = np.diff(np.sort(np.array(list(series.images_per_position))))
    if len(steps) < 2 or np.ptp(steps) <= SPACING_TOLERANCE * np.median(steps):
        return None
    return f"its slices lie {steps.min():g} to {steps.max():g} mm apart: reconstruct them at one distance"


def _tilt(series: DicomSeries) -> str | None:
    """A CT whose gantry was tilted: its slices are shifted against each other, which no grid of right angles holds."""
    if series.header.get("Modality") != "CT" or len(series.files) < 2:
        return None
    places = np.array([file.header.ImagePositionPatient for file in series.files], dtype=float)
    normal = _normal(tuple(map(float, series.header.ImageOrientationPatient)))
    heights = places @ normal
    way = places[heights.argmax()] - places[heights.argmin()]
    length = float(np.linalg.norm(way))
    angle = np.degrees(np.arccos(np.clip(way @ normal / length, -1, 1))) if length else 0.0
    if angle <= TILT_TOLERANCE_DEG:
        return None
    return f"the gantry was tilted by {angle:.0f} degrees: reconstruct the series without tilt"


def _numbering(series: DicomSeries) -> str | None:
    numbers = {_number(file) for file in series.files}
    lost = sorted(set(range(min(numbers), max(numbers))) - numbers)
    if not lost or len(numbers) < len(series.files) or len(lost) > NUMBERING_GAP_SHARE * len(numbers):
        return None
    return f"images are missing: instance number {lost[0]}" + (f" and {len(lost) - 1} more" if lost[1:] else "")


def _announced(series: DicomSeries) -> str | None:
    if series.is_derived:  # derived maps keep the counts of the series they were computed from
        return None
    announced = whole_number(series.header, "NumberOfTemporalPositions")
    if series.volumes and series.volumes < announced:
        return f"the header announces {announced} volumes, {series.volumes} were found"
    announced = whole_number(series.header, "ImagesInAcquisition")
    acquisitions = {file.header.get("AcquisitionNumber") for file in series.files}
    if len(acquisitions) == 1 and len(series.frames) < announced:
        return f"the header announces {announced} images, {len(series.frames)} were found"
    return None


def _first_problem(series: DicomSeries) -> str | None:
    checks = [_truncated, _numbering, _announced]
    if series.is_image and not series.is_mosaic and series.has_one_orientation:
        checks[1:1] = [_uneven, _gaps, _spacing, _tilt]
    return next((problem for check in checks if (problem := check(series))), None)


def find_problem(series: DicomSeries) -> str | None:
    """What makes a series unusable, in one plain phrase; ``None`` if its files are complete and consistent."""
    try:
        return _first_problem(series)
    except GARBLED as error:
        return f"its DICOM headers cannot be understood ({type(error).__name__})"


def counts(series: DicomSeries) -> tuple[int | None, int | None]:
    """Slices and volumes of a series; ``None`` where its headers do not tell."""
    try:
        return (series.slices, series.volumes) if series.is_image else (None, None)
    except GARBLED:
        return None, None


def relative_names(series: DicomSeries, folder) -> list[str]:
    """File names of a series below the session's folder, for the log."""
    return [file.path.relative_to(Path(folder)).as_posix() for file in series.files]
