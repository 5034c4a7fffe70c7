"""Taking the patient out of converted files: sidecars, tables and NIfTI headers.

dcm2niix and BIDScoin already leave out the name and the birth date; this module removes what remains (time, place,
device, comments) and searches every text for the patient's own identifiers.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from scan2map.provenance import write_json

SHORTEST_IDENTIFIER = 4  # shorter texts ("01") occur everywhere and identify nobody
# Free-text fields of the NIfTI-1 header (offset, bytes): data_type, db_name, descrip, aux_file.
NIFTI_TEXT_FIELDS = ((4, 10), (14, 18), (148, 80), (228, 24))
NIFTI_HEADER_BYTES = 348
COMPRESSION_LEVEL = 4  # twice as fast as the usual 6 for files 2 % larger


def patient_identifiers(header: Dataset) -> set[str]:
    """The texts of a DICOM header that name the patient: name and its parts, ID, birth date, other IDs."""
    name = str(header.get("PatientName") or "")
    others = header.get("OtherPatientIDs") or []
    others = [others] if isinstance(others, str) else list(others)
    birth = str(header.get("PatientBirthDate") or "")
    dashed = [f"{birth[:4]}-{birth[4:6]}-{birth[6:]}"] if len(birth) == 8 else []
    texts = [name, *name.split("^"), str(header.get("PatientID") or ""), birth, *dashed, *map(str, others)]
    return {text.strip() for text in texts if len(text.strip()) >= SHORTEST_IDENTIFIER}


def _names_patient(value: Any, identifiers: Iterable[str]) -> bool:
    text = json.dumps(value, ensure_ascii=False).lower()
    return any(identifier.lower() in text for identifier in identifiers)


def clean_sidecar(sidecar: dict[str, Any], remove: Iterable[str], identifiers: Iterable[str]) -> dict[str, Any]:
    """A sidecar without the keys to remove, and without any value that holds one of the patient's identifiers."""
    unwanted = set(remove)
    return {
        key: value for key, value in sidecar.items() if key not in unwanted and not _names_patient(value, identifiers)
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


def files_naming_patient(folder: Path, identifiers: Iterable[str]) -> list[Path]:
    """The files below a folder whose text (or NIfTI header) or name still holds one of the patient's identifiers."""
    wanted = [identifier.lower().encode() for identifier in identifiers]
    found = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        text = _contents(path).lower() + path.name.lower().encode()
        if any(identifier in text for identifier in wanted):
            found.append(path)
    return found


def anonymise_sidecar(path: Path, remove: Iterable[str], identifiers: Iterable[str]) -> dict[str, Any]:
    """Clean a sidecar on disk and return what it now holds."""
    cleaned = clean_sidecar(json.loads(path.read_text()), remove, identifiers)
    write_json(path, cleaned)
    return cleaned
