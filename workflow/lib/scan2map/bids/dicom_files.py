"""Reading DICOM headers: one pass over a session's folder, pixel data untouched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

# What the intake needs of a header; private tag (0019,100A) is Siemens' number of images in a mosaic.
TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "ImageType", "Modality", "Manufacturer", "InstanceNumber", "AcquisitionNumber",
    "NumberOfFrames", "NumberOfTemporalPositions", "ImagesInAcquisition", "Rows", "Columns", "SamplesPerPixel",
    "BitsAllocated", "ImagePositionPatient", "ImageOrientationPatient", "ProtocolName", "ImageComments",
    "PatientName", "PatientID", "PatientBirthDate", "PatientAge", "PatientSex", "OtherPatientIDs",
    "MRArterialSpinLabelingSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    (0x0019, 0x100A),
]  # fmt: skip
# What pydicom raises for files that are not DICOM, end in mid-header, or hold values of the wrong kind.
GARBLED = (ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError)
UNREADABLE = (InvalidDicomError, OSError, EOFError, *GARBLED)
ELEMENT_HEADER_BYTES = 12  # tag, value representation, reserved, length: DICOM PS3.5 section 7.1.2


def whole_number(header: Dataset, keyword: str) -> int:
    """A header's whole number; 0 if it is absent or garbled."""
    try:
        return int(header.get(keyword) or 0)
    except (ValueError, TypeError):
        return 0


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file: its header and how many bytes of its pixel data are missing."""

    path: Path
    header: Dataset
    missing_bytes: int = 0

    @property
    def is_image(self) -> bool:
        """Whether the file is of a class that holds images (PS3.4 annex B.5), not a report or raw data."""
        return "SOPClassUID" in self.header and "Image Storage" in self.header.SOPClassUID.name

    @property
    def is_truncated(self) -> bool:
        """Whether the file ends before its pixel data do."""
        return self.missing_bytes > 0 or (self.is_image and "Rows" not in self.header)


def expected_pixel_bytes(header: Dataset) -> int:
    """Size of the uncompressed pixel data that a header announces, bytes."""
    bits = int(header.get("BitsAllocated") or 0) * int(header.get("SamplesPerPixel") or 1)
    frames = int(header.get("NumberOfFrames") or 1)
    return int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * frames * bits // 8


def _missing_bytes(header: Dataset, pixel_tag_offset: int, file_bytes: int) -> int:
    """Pixel bytes that the file lacks; 0 where the transfer syntax does not tell."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None or syntax.is_compressed:
        return 0
    element = 8 if syntax.is_implicit_VR else ELEMENT_HEADER_BYTES
    return max(0, expected_pixel_bytes(header) - (file_bytes - pixel_tag_offset - element))


def read_dicom(path: Path) -> DicomFile | None:
    """Read one header.

    Returns:
        The file, or ``None`` if it is not DICOM or belongs to no series (for example DICOMDIR).
    """
    try:
        with path.open("rb") as handle:
            header = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=TAGS)
            offset = handle.tell()
        if "SeriesInstanceUID" not in header:
            return None
        return DicomFile(path, header, _missing_bytes(header, offset, os.path.getsize(path)))
    except UNREADABLE:
        return None


def read_full_header(path: Path) -> Dataset:
    """The whole header of a file, for matching any attribute that a study map may name."""
    return pydicom.dcmread(path, stop_before_pixels=True)


def _candidates(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return found


def read_folder(folder) -> tuple[list[DicomFile], list[Path]]:
    """Read all headers below a folder, whatever its layout.

    Returns:
        The DICOM files in a fixed order, and the files that are not DICOM.
    """
    files, others = [], []
    for path in _candidates(Path(folder)):
        found = read_dicom(path)
        (others.append(path) if found is None else files.append(found))
    return files, others
