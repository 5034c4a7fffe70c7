"""Which part a BIDS file plays in the processing, and to which modality it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MODALITIES = ("anat", "dwi", "asl", "bssfp", "ctmr")
LABELLING_OF_VELOCITY = "VSASL"
# The labelled series that gives a session its grid, its M0 and its CBF: the first of these roles that it has.
BASE_ASL_ROLES = ("asl", "asl_multipld")

# BIDS suffix -> modality of a raw file.
MODALITY_OF_SUFFIX = {
    "T1w": "anat", "MP2RAGE": "anat", "UNIT1": "anat", "T2w": "anat",
    "dwi": "dwi", "epi": "dwi",
    "asl": "asl", "m0scan": "asl",
    "bSSFP": "bssfp",
    "ct": "ctmr", "FLAIR": "ctmr", "ADC": "ctmr", "mask": "ctmr",
}  # fmt: skip

ROLE_OF_SUFFIX = {
    "T1w": "t1w", "UNIT1": "mp2rage_uni", "T2w": "t2w", "dwi": "dwi", "epi": "epi", "m0scan": "m0", "ct": "ct",
    "FLAIR": "flair", "ADC": "adc",
}  # fmt: skip
MODALITY_OF_ROLE = {role: MODALITY_OF_SUFFIX[suffix] for suffix, role in ROLE_OF_SUFFIX.items()} | {
    "asl": "asl", "asl_multipld": "asl", "vsasl": "asl", "bssfp_mag": "bssfp", "bssfp_phase": "bssfp",
    "mp2rage_inv1": "anat", "mp2rage_inv2": "anat", "mp2rage_inv1_phase": "anat", "mp2rage_inv2_phase": "anat",
    "lesion_mask": "ctmr",
}  # fmt: skip


def delays_s(metadata: dict[str, Any]) -> list[float]:
    """The distinct post-labelling delays of an ASL sidecar (s), without the zeros of M0 volumes; ascending."""
    value = metadata.get("PostLabelingDelay", [])
    values = value if isinstance(value, list) else [value]
    return sorted({float(delay) for delay in values} - {0.0}) if len(values) > 1 else [float(v) for v in values]


def _asl_role(metadata: dict[str, Any]) -> str:
    if metadata.get("ArterialSpinLabelingType") == LABELLING_OF_VELOCITY:
        return "vsasl"
    return "asl_multipld" if len(delays_s(metadata)) > 1 else "asl"


def base_asl_role(files: Iterable) -> str | None:
    """The role of a session's base series among its files (each with a ``role``); ``None`` if it has none."""
    found = {file.role for file in files}
    return next((role for role in BASE_ASL_ROLES if role in found), None)


def _mp2rage_role(entities: dict[str, str]) -> str:
    return f"mp2rage_inv{entities.get('inv', '')}" + ("_phase" if entities.get("part") == "phase" else "")


def role_of(entities: dict[str, str], suffix: str, metadata: dict[str, Any]) -> str | None:
    """The role of a BIDS image; ``None`` for one that no step reads.

    Args:
        entities: short entity names and values of its file name.
        suffix: last part of its file name.
        metadata: its sidecar.
    """
    if suffix == "asl":
        return _asl_role(metadata)
    if suffix == "MP2RAGE":
        return _mp2rage_role(entities)
    if suffix == "bSSFP":
        return "bssfp_phase" if entities.get("part") == "phase" else "bssfp_mag"
    if suffix == "mask":
        return "lesion_mask" if entities.get("label") == "lesion" else None
    return ROLE_OF_SUFFIX.get(suffix)
