"""The simulated scanner: writes acquired series as classic single-frame DICOM that converts exactly.

Every file of a series shares most of its header, so the shared elements are encoded once and only the few that
differ are encoded for each slice. The same series, patient and session give the same bytes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import UID, ExplicitVRLittleEndian

from scan2map.errors import DataError
from scan2map.phantom.dicom_geometry import slice_geometry, slice_pixels, store_pixels
from scan2map.phantom.dicom_headers import Patient, Study, series_header, slice_header
from scan2map.phantom.series import Series

__all__ = ["Patient", "Study", "write_series", "write_session"]

PREAMBLE = b"\0" * 128 + b"DICM"
IMPLEMENTATION_UID = UID("2.25.302163459714356720839204215612483627125")


def _require(condition: bool, series: Series, problem: str, **details) -> None:
    if not condition:
        raise DataError(f"Series {series.number} ({series.description}): {problem}", **details)


def _check_lists(series: Series, volumes: int, slices: int) -> None:
    """Every per-volume and per-slice list has the length of its axis."""
    lengths = {
        "b_values_s_per_mm2": (series.b_values_s_per_mm2, volumes),
        "b_vectors": (series.b_vectors, volumes),
        "slice_times_s": (series.slice_times_s, slices),
        "asl.context": (series.asl and series.asl.context, volumes),
        "asl.post_label_delays_s": (series.asl and series.asl.post_label_delays_s, volumes),
    }
    for name, (values, expected) in lengths.items():
        fits = values is None or len(values) == expected
        _require(fits, series, f"{name} does not fit", found=values is not None and len(values), allowed=expected)


def _check_series(series: Series, data: np.ndarray) -> None:
    """Refuse a series whose header would say something else than its data."""
    _require(series.kind in ("magnitude", "phase", "ct"), series, "unknown kind", found=series.kind)
    _require(data.ndim == 4, series, "not a volume or a series of volumes", found=data.shape, allowed="3 or 4 axes")
    _check_lists(series, volumes=data.shape[3], slices=data.shape[2])
    both = (series.b_values_s_per_mm2 is None) == (series.b_vectors is None)
    _require(both, series, "b-values and b-vectors come together")
    _require(series.phase_encoding in (None, "j", "j-"), series, "unknown phase encoding", found=series.phase_encoding)
    readout = series.phase_encoding is None or (series.total_readout_time_s or 0) > 0
    _require(readout, series, "no total readout time", found=series.total_readout_time_s, allowed="> 0 s")


def _encode(dataset: Dataset) -> dict[int, bytes]:
    """Each element of a dataset as its little-endian explicit bytes, by tag."""
    encoded = {}
    for element in dataset:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_data_element(buffer, element)
        encoded[int(element.tag)] = buffer.getvalue()
    return encoded


def _file_meta(class_uid: UID) -> dict[int, bytes]:
    """The file meta elements (group 0002) that all files of a series share."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion, meta.MediaStorageSOPClassUID = b"\0\1", class_uid
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, IMPLEMENTATION_UID
    meta.ImplementationVersionName = "SCAN2MAP"
    return _encode(meta)


def _file_start(shared_meta: dict[int, bytes], instance_uid: UID) -> bytes:
    """Preamble and file meta of one file (DICOM PS3.10, 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPInstanceUID = instance_uid
    body = _join(shared_meta | _encode(meta))
    return PREAMBLE + b"\x02\0\0\0UL\x04\0" + len(body).to_bytes(4, "little") + body


def _join(elements: dict[int, bytes]) -> bytes:
    return b"".join(elements[tag] for tag in sorted(elements))


def _pixel_element(pixels: bytes) -> bytes:
    padded = pixels + b"\0" * (len(pixels) % 2)
    return b"\xe0\x7f\x10\x00OW\0\0" + len(padded).to_bytes(4, "little") + padded


def encode_slices(series: Series, study: Study) -> Iterator[bytes]:
    """The DICOM files of a series, volume by volume, slice by slice.

    Raises:
        DataError: the series contradicts itself, or cannot be stored.
    """
    data = series.data if series.data.ndim == 4 else series.data[..., None]
    _check_series(series, data)
    geometry, stored = slice_geometry(series.affine, data.shape[:3]), store_pixels(data, series.kind)
    shared = series_header(series, study, geometry, stored)
    encoded, meta = _encode(shared), _file_meta(shared.SOPClassUID)
    for volume, slice_index in np.ndindex(data.shape[3], data.shape[2]):
        header = slice_header(series, study, geometry, slice_index, volume)
        elements = _join(encoded | _encode(header))
        pixels = slice_pixels(stored.values, geometry, slice_index, volume)
        yield _file_start(meta, header.SOPInstanceUID) + elements + _pixel_element(pixels)


def write_series(series: Series, folder, study: Study) -> Path:
    """Write one series as ``NNN-description/00001.dcm`` ..., under a temporary name first.

    Args:
        series: what was acquired.
        folder: the session's folder.
        study: patient and session.

    Returns:
        The folder of the series.

    Raises:
        DataError: the series contradicts itself, or cannot be stored.
    """
    label = re.sub(r"[^A-Za-z0-9_.-]+", "_", series.description)
    final = Path(folder) / f"{series.number:03d}-{label}"
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for index, content in enumerate(encode_slices(series, study), start=1):
        (partial / f"{index:05d}.dcm").write_bytes(content)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    return final


def write_session(series: list[Series], folder, patient: Patient, settings=None, *, session: str = "01") -> list[Path]:
    """Write every series of a session.

    Args:
        series: what was acquired.
        folder: where the folders of the series go.
        patient: the made-up person.
        settings: ``field_strength_t`` (3 when absent).
        session: label of the visit; it changes the UIDs.

    Returns:
        The folders of the series.

    Raises:
        DataError: a series contradicts itself, or two series share a number.
    """
    numbers = [one.number for one in series]
    if len(set(numbers)) != len(numbers):
        raise DataError("Two series of a session share a number", found=sorted(numbers), allowed="one number each")
    study = Study(patient, session, float((settings or {}).get("field_strength_t", 3.0)))
    return [write_series(one, folder, study) for one in series]
