"""What BIDS needs to know about an ASL series and no converter writes: volume types, delays, where the M0 is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scan2map.bids.dicom_series import DicomSeries
from scan2map.errors import DataError

# DICOM ASL Context (PS3.3 section C.8.13.5.14) -> BIDS volume_type.
DICOM_CONTEXTS = {"CONTROL": "control", "LABEL": "label", "M_ZERO_SCAN": "m0scan"}
VOLUME_TYPES = ("control", "label", "m0scan", "deltam", "cbf", "noRF", "n/a")
# Volumes that carry perfusion.
PERFUSION = ("control", "label", "deltam")
COMMENT_FIELDS = {"{context}": r"(?P<context>control|label|m0scan)", "{delay_ms}": r"(?P<delay_ms>\d+(?:\.\d+)?)"}


def expand_pattern(pattern: str, volumes: int) -> list[str]:
    """The volume types that a pattern of the study map stands for.

    Args:
        pattern: for example ``m0scan (label control)``: the words in parentheses repeat to the end.
        volumes: number of volumes.

    Raises:
        DataError: the pattern cannot give that number of volumes.
    """
    first, _, rest = pattern.partition("(")
    repeated = rest.rstrip(") ").replace(",", " ").split()
    types = first.replace(",", " ").split()
    if repeated:
        types += repeated * ((volumes - len(types)) // len(repeated))
    if len(types) != volumes or not set(types) <= set(VOLUME_TYPES):
        raise DataError(
            "The ASL series does not follow the study map's order of volumes",
            found=f"{volumes} volumes",
            allowed=pattern,
            remedy="the scan may be cut short: correct _volume_pattern in the study map, or exclude the series",
        )
    return types


def _comment_match(series: DicomSeries, template: str) -> list[re.Match | None]:
    expression = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    for name, pattern in COMMENT_FIELDS.items():
        expression = expression.replace(name, pattern)
    comments = series.volume_comments
    return [re.search(expression, comment, flags=re.IGNORECASE) for comment in comments]


def _from_comments(series: DicomSeries, template: str | None, field: str) -> list[str] | None:
    """One field of every volume's comment; ``None`` if the template does not ask for it or a volume lacks it."""
    if not template or f"{{{field}}}" not in template:
        return None
    matches = _comment_match(series, template)
    return [match[field].lower() for match in matches] if all(matches) else None


def volume_types(series: DicomSeries, meta: dict[str, Any]) -> list[str]:
    """The type of each volume: from the DICOM ASL context, else the image comments, else the study map's order.

    Args:
        series: the ASL series.
        meta: metadata of its entry in the study map; read here are ``_volume_comment``, a template such as
            ``{context} PLD {delay_ms} ms``, and ``_volume_pattern``, such as ``m0scan (label control)``.

    Raises:
        DataError: nothing tells the order.
    """
    contexts = [DICOM_CONTEXTS.get(frame.asl_context or "") for frame in series.volume_frames]
    if all(contexts):
        return contexts
    from_comments = _from_comments(series, meta.get("_volume_comment"), "context")
    if from_comments:
        return from_comments
    if meta.get("_volume_pattern"):
        return expand_pattern(str(meta["_volume_pattern"]), len(contexts))
    raise DataError(
        "Nothing tells which volumes of the ASL series are control and which are label",
        allowed="ASL context in the DICOM header, or _volume_comment or _volume_pattern in the study map",
        remedy="add _volume_pattern to the series' entry in the study map",
    )


def volume_delays_s(series: DicomSeries, meta: dict[str, Any]) -> list[float] | None:
    """The post-labelling delay of each volume (s) where the headers tell it volume by volume; else ``None``."""
    from_comments = _from_comments(series, meta.get("_volume_comment"), "delay_ms")
    return [float(delay) / 1000 for delay in from_comments] if from_comments else None


def _delays(types: Sequence[str], delays_s: Sequence[float]) -> float | list[float]:
    """One number if all labelled volumes share a delay, else one per volume with 0 for the others (as BIDS asks)."""
    of_pairs = {delay for delay, kind in zip(delays_s, types, strict=True) if kind in PERFUSION}
    if len(of_pairs) == 1:
        return of_pairs.pop()
    return [delay if kind in PERFUSION else 0.0 for delay, kind in zip(delays_s, types, strict=True)]


def asl_fields(series: DicomSeries, meta: dict[str, Any], sidecar: dict[str, Any], has_m0scan: bool) -> dict[str, Any]:
    """The sidecar fields of an ASL series that follow from its headers and its session.

    Args:
        series: the ASL series.
        meta: metadata of its entry in the study map.
        sidecar: the sidecar so far.
        has_m0scan: whether the session has an M0 series of its own.

    Returns:
        ``M0Type``, ``TotalAcquiredPairs`` and, where headers tell it, ``PostLabelingDelay`` (s).
    """
    types = volume_types(series, meta)
    m0_type = "Included" if "m0scan" in types else "Separate" if has_m0scan else "Absent"
    fields = {
        "M0Type": sidecar.get("M0Type", m0_type),
        "TotalAcquiredPairs": types.count("label") or types.count("deltam"),
    }
    delays_s = volume_delays_s(series, meta)
    if delays_s:
        fields["PostLabelingDelay"] = _delays(types, delays_s)
    return fields


def context_path(image: Path) -> Path:
    """The ``*_aslcontext.tsv`` of an ASL image."""
    stem = image.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_asl")
    return image.with_name(f"{stem}_aslcontext.tsv")


def write_context(image: Path, types: Sequence[str]) -> None:
    """Write ``*_aslcontext.tsv`` beside an ASL image."""
    context_path(image).write_text("\n".join(["volume_type", *types]) + "\n")
