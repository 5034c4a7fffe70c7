"""Taking the patient out of converted files: sidecars, tables and NIfTI headers.

dcm2niix and BIDScoin already leave out the name and the birth date; this module removes what remains (time, place,
device, comments) and searches every text for the patient's own identifiers.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from scan2map.provenance import write_json

SHORTEST_IDENTIFIER = 4  # shorter texts ("01") occur everywhere and identify nobody
DATE_LENGTH = 8  # YYYYMMDD
# Free-text fields of the NIfTI-1 header (offset, bytes): data_type, db_name, descrip, aux_file.
NIFTI_TEXT_FIELDS = ((4, 10), (14, 18), (148, 80), (228, 24))
NIFTI_HEADER_BYTES = 348
COMPRESSION_LEVEL = 4  # twice as fast as the usual 6 for files 2 % larger


@dataclass(frozen=True)
class Identifiers:
    """The texts that name a patient.

    Attributes:
        exact: whole name, ID, other IDs, birth date: nowhere in the result.
        name_parts: family name, given name, ...; they may be everyday words ("Head"), so they are searched for as whole
            words, and in sidecar values only.
    """

    exact: frozenset[str]
    name_parts: frozenset[str] = frozenset()

    def without(self, label: str) -> Identifiers:
        """The identifiers that do not stand in a label which the study chose itself."""
        return Identifiers(frozenset(text for text in self.exact if text not in label.lower()), self.name_parts)

    def are_in(self, text: str) -> bool:
        """Whether a text holds any of them."""
        text = text.lower()
        parts = (rf"(?<![^\W\d_]){re.escape(part)}(?![^\W\d_])" for part in self.name_parts)
        return any(one in text for one in self.exact) or any(re.search(part, text) for part in parts)


def _long_enough(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text.strip().lower() for text in texts if len(text.strip()) >= SHORTEST_IDENTIFIER)


def patient_identifiers(headers: Iterable[Dataset]) -> Identifiers:
    """The identifiers of the patient in DICOM headers, in lower case."""
    exact: set[str] = set()
    parts: set[str] = set()
    for header in headers:
        name, birth = str(header.get("PatientName") or ""), str(header.get("PatientBirthDate") or "")
        others = header.get("OtherPatientIDs") or []
        exact |= {name, name.replace("^", " "), str(header.get("PatientID") or ""), birth}
        exact |= {others} if isinstance(others, str) else {str(other) for other in others}
        exact |= {f"{birth[:4]}-{birth[4:6]}-{birth[6:]}"} if len(birth) == DATE_LENGTH else set()
        parts |= set(re.split(r"[\^\s=,]+", name))
    return Identifiers(_long_enough(exact), _long_enough(parts))


def clean_sidecar(sidecar: dict[str, Any], remove: Iterable[str], identifiers: Identifiers) -> dict[str, Any]:
    """A sidecar without the keys to remove, and without any value that holds one of the patient's identifiers."""
    unwanted = set(remove)
    return {
        key: value
        for key, value in sidecar.items()
        if key not in unwanted and not identifiers.are_in(json.dumps(value, ensure_ascii=False))
    }


def compress_image(source: Path, target: Path) -> None:
    """Gzip an uncompressed NIfTI-1 image with its free-text header fields blanked.

    The bytes depend on the image alone: no file name and no time in the gzip header.
    """
    partial = target.with_name(f".partial-{target.name}")
    with source.open("rb") as reader, partial.open("wb") as raw:
        header = bytearray(reader.read(NIFTI_HEADER_BYTES))
        for offset, size in NIFTI_TEXT_FIELDS:
            header[offset : offset + size] = bytes(size)
        with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, raw, mtime=0) as writer:
            writer.write(header)
            shutil.copyfileobj(reader, writer, 2**20)
    partial.replace(target)


def _contents(path: Path) -> bytes:
    if path.name.endswith(".nii.gz"):
        with gzip.open(path, "rb") as handle:
            return handle.read(NIFTI_HEADER_BYTES)
    return path.read_bytes()


def files_naming_patient(folder: Path, identifiers: Identifiers) -> list[Path]:
    """The files below a folder whose text, NIfTI header or name still holds an exact identifier of the patient."""
    wanted = [identifier.encode() for identifier in identifiers.exact]
    found = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        text = _contents(path).lower() + path.name.lower().encode()
        if any(identifier in text for identifier in wanted):
            found.append(path)
    return found


def anonymise_sidecar(path: Path, remove: Iterable[str], identifiers: Identifiers) -> dict[str, Any]:
    """Clean a sidecar on disk and return what it now holds."""
    cleaned = clean_sidecar(json.loads(path.read_text()), remove, identifiers)
    write_json(path, cleaned)
    return cleaned
