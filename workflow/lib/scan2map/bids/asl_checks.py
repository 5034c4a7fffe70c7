"""Is a labelling series fit for use? Volume types, delays, durations and M0, before any job reads it."""

from __future__ import annotations

from pathlib import Path

from scan2map.bids.asl_metadata import VOLUME_TYPES, context_path
from scan2map.bids.layout import BidsFile

LONGEST_S = 10.0  # beyond it a delay or duration is not in seconds
CONTINUOUS = ("PCASL", "CASL")


def _read_context(image: Path) -> list[str] | None:
    path = context_path(image)
    if not path.is_file():
        return None
    lines = [line.split("\t")[0].strip() for line in path.read_text().splitlines() if line.strip()]
    return lines[1:]


def _context_problem(types: list[str] | None, volumes: int) -> str | None:
    if types is None:
        return "the aslcontext.tsv is missing: which volumes are control and which are label is not known"
    unknown = sorted(set(types) - set(VOLUME_TYPES))
    if unknown or len(types) != volumes:
        return f"the aslcontext.tsv does not fit: {len(types)} rows for {volumes} volumes" + (
            f", unknown type {unknown[0]!r}" if unknown else ""
        )
    if types.count("control") != types.count("label") or "label" not in types:
        if "deltam" in types:
            return "the series holds differences already; control and label volumes are needed"
        return f"{types.count('control')} control and {types.count('label')} label volumes do not make pairs"
    return None


def _number_problem(metadata: dict, key: str, longest: float) -> str | None:
    value = metadata.get(key)
    values = value if isinstance(value, list) and value else [value]
    if all(isinstance(one, int | float) and not isinstance(one, bool) and 0 < one < longest for one in values):
        return None
    return f"{key} is not plausible (found: {value}, allowed: above 0 and below {longest:g} s)"


def _delay_problem(metadata: dict, types: list[str]) -> str | None:
    value = metadata.get("PostLabelingDelay")
    if not isinstance(value, list) or len(value) == 1:
        return _number_problem(metadata, "PostLabelingDelay", LONGEST_S)
    if len(value) != len(types):
        return f"PostLabelingDelay has {len(value)} values for {len(types)} volumes"
    labelled = [delay for delay, kind in zip(value, types, strict=True) if kind in ("control", "label")]
    return _number_problem({"PostLabelingDelay": labelled}, "PostLabelingDelay", LONGEST_S)


def _timing_problem(metadata: dict, types: list[str]) -> str | None:
    labelling = metadata.get("ArterialSpinLabelingType")
    if labelling not in (*CONTINUOUS, "PASL", "VSASL"):
        return f"ArterialSpinLabelingType is not known (found: {labelling})"
    problem = _delay_problem(metadata, types)
    if labelling in CONTINUOUS:
        problem = problem or _number_problem(metadata, "LabelingDuration", LONGEST_S)
    return problem or _number_problem(metadata, "RepetitionTimePreparation", 4 * LONGEST_S)


def _m0_problem(metadata: dict, types: list[str], has_m0: bool) -> str | None:
    if "m0scan" in types or has_m0 or metadata.get("M0Estimate"):
        return None
    return "no M0: neither a series of its own nor a volume of the ASL series"


def asl_problem(file: BidsFile, volumes: int, has_m0: bool) -> str | None:
    """What keeps a labelling series from being quantified; ``None`` if it is complete.

    Args:
        file: the series.
        volumes: volumes of the image.
        has_m0: whether the session has an M0 series.
    """
    types = _read_context(file.path)
    problem = _context_problem(types, volumes)
    if types is None or problem:
        return problem
    return _timing_problem(file.metadata, types) or _m0_problem(file.metadata, types, has_m0)
