"""Finishing the sidecars of a converted session: what BIDScoin drops comes back, what nobody may see goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scan2map.bids import asl_metadata
from scan2map.bids.dicom_series import DicomSeries
from scan2map.bids.study_map import PRIVATE_PREFIX, MapEntry
from scan2map.errors import DataError
from scan2map.provenance import write_json

# Suffixes for which BIDS requires RepetitionTimePreparation; it equals the repetition time of these sequences.
NEEDS_PREPARATION_TIME = {"asl", "m0scan", "MP2RAGE"}
NOT_BIDS = {"bval", "bvec"}  # BIDScoin moves the b-table of an fmap into the sidecar


def sidecar_of(image: Path) -> Path:
    """The sidecar of an image."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def read_sidecar(image: Path) -> dict[str, Any]:
    """The sidecar of an image as a dictionary."""
    return json.loads(sidecar_of(image).read_text())


def restore_dropped(sidecar: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The sidecar with the study map's values that BIDScoin drops: ``false`` and 0."""
    dropped = {key: value for key, value in meta.items() if isinstance(value, bool | int | float) and not value}
    return sidecar | dropped


def _public(sidecar: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sidecar.items() if not key.startswith(PRIVATE_PREFIX) and key not in NOT_BIDS}


def complete_sidecar(image: Path, entry: MapEntry) -> dict[str, Any]:
    """Restore and complete one sidecar on disk; returns what it now holds."""
    sidecar = _public(restore_dropped(read_sidecar(image), entry.meta))
    if entry.suffix in NEEDS_PREPARATION_TIME and "RepetitionTime" in sidecar:
        sidecar.setdefault("RepetitionTimePreparation", sidecar["RepetitionTime"])
    write_json(sidecar_of(image), sidecar)
    return sidecar


def complete_asl(image: Path, series: DicomSeries, entry: MapEntry, has_m0scan: bool) -> None:
    """Add the ASL fields to a sidecar and write ``*_aslcontext.tsv``.

    Raises:
        DataError: the order of control and label is unknown, or contradicts the study map.
    """
    sidecar = read_sidecar(image)
    types = asl_metadata.volume_types(series, entry.meta)
    _check_pattern(types, entry)
    sidecar.update(asl_metadata.asl_fields(series, entry.meta, sidecar, has_m0scan))
    write_json(sidecar_of(image), sidecar)
    asl_metadata.write_context(image, types)


def _check_pattern(types: list[str], entry: MapEntry) -> None:
    pattern = entry.meta.get("_volume_pattern")
    if pattern and types != asl_metadata.expand_pattern(str(pattern), len(types)):
        raise DataError(
            "The study map and the DICOM headers disagree about the order of the ASL volumes",
            found=" ".join(types[:6]) + " ... in the headers",
            allowed=f"{pattern} in the study map",
            remedy="find out which is right and correct _volume_pattern in the study map",
        )


def link_m0scan(m0scan: Path, asl_images: list[Path], bids_root: Path) -> None:
    """Tell the M0 image which ASL series it calibrates (BIDS URIs), unless the study map did."""
    sidecar = read_sidecar(m0scan)
    names = [path.name.removesuffix(".gz").removesuffix(".nii") + ".nii.gz" for path in asl_images]
    folder = asl_images[0].parent.relative_to(bids_root).as_posix() if asl_images else ""
    sidecar.setdefault("IntendedFor", [f"bids::{folder}/{name}" for name in names])
    write_json(sidecar_of(m0scan), sidecar)
