"""What an ASL series says about itself: read from its BIDS files and checked before any image is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scan2map.errors import DataError
from scan2map.provenance import sidecar_path

CONTINUOUS, PULSED = ("PCASL", "CASL"), ("PASL",)
KINDS = (*CONTINUOUS, *PULSED)
VOLUME_TYPES = ("control", "label", "deltam", "m0scan", "noRF", "cbf")
M0_TYPES = ("Separate", "Included", "Estimate", "Absent")
# Longer than any delay or duration of a living protocol: the number is in milliseconds.
LONGEST_TIME_S = 10.0
LONGEST_REPETITION_S = 60.0
PULSED_CUTOFFS = ("QUIPSS", "QUIPSSII", "Q2TIPS")


@dataclass(frozen=True)
class Labelling:
    """Labelling and timing of one ASL series.

    Attributes:
        kind: ``PCASL``, ``CASL`` or ``PASL``.
        volume_types: of each volume, as in ``aslcontext.tsv``.
        delays_s: of each volume: post-labelling delay (PCASL, CASL) or inversion time TI (PASL), s; 0 for M0.
        duration_s: label duration (PCASL, CASL) or bolus duration TI1 (PASL), s.
        slice_delays_s: time of each slice after the first one, s; None for a 3-D readout.
        suppression_pulses: number of background-suppression pulses.
        efficiency: measured labelling efficiency, or None.
        m0_type: ``Separate``, ``Included``, ``Estimate`` or ``Absent``.
        m0_repetition_time_s: repetition time of the M0 image, s; None where there is none.
        m0_estimate: one M0 value for the whole image, or None.
        field_strength_t: main magnetic field, T.
    """

    kind: str
    volume_types: tuple[str, ...]
    delays_s: tuple[float, ...]
    duration_s: float
    slice_delays_s: tuple[float, ...] | None
    suppression_pulses: int
    efficiency: float | None
    m0_type: str
    m0_repetition_time_s: float | None
    m0_estimate: float | None
    field_strength_t: float

    def volumes_of(self, *types: str) -> list[int]:
        """Indices of the volumes of some types."""
        return [index for index, kind in enumerate(self.volume_types) if kind in types]

    @property
    def labelled_delays_s(self) -> tuple[float, ...]:
        """The different delays of the labelled volumes, s, ascending."""
        used = self.volumes_of("control", "label", "deltam")
        return tuple(sorted({self.delays_s[index] for index in used}))

    def restricted_to(self, volumes: Sequence[int]) -> Labelling:
        """The labelling of a series that keeps only some volumes."""
        fields = asdict(self)
        fields["volume_types"] = tuple(self.volume_types[index] for index in volumes)
        fields["delays_s"] = tuple(self.delays_s[index] for index in volumes)
        return Labelling(**fields)


def save_labelling(path, labelling: Labelling, **facts) -> None:
    """Write a labelling as JSON, with further facts."""
    from scan2map.provenance import write_json

    write_json(path, asdict(labelling) | facts)


def load_labelling(path) -> Labelling:
    """Read what :func:`save_labelling` wrote."""
    content = json.loads(Path(path).read_text())
    fields = {name: content[name] for name in Labelling.__dataclass_fields__}
    for name in ("volume_types", "delays_s", "slice_delays_s"):
        fields[name] = None if fields[name] is None else tuple(fields[name])
    return Labelling(**fields)


def read_labelling(asl, m0, shape: tuple[int, ...], settings: dict) -> Labelling:
    """Read and check the labelling of a series.

    Args:
        asl: the ASL image; its sidecar and ``aslcontext.tsv`` lie beside it.
        m0: the separate M0 image, or None.
        shape: of the ASL image.
        settings: block ``asl``.

    Raises:
        DataError: something is missing, zero where it cannot be, or contradicts itself.
    """
    meta = _Sidecar(asl)
    kind = meta.choice("ArterialSpinLabelingType", KINDS)
    types = read_context(asl, shape[3] if len(shape) == 4 else 1)
    m0_type = _m0_type(meta, types, m0)
    return Labelling(
        kind=kind,
        volume_types=types,
        delays_s=_delays(meta, types),
        duration_s=_label_duration(meta, types) if kind in CONTINUOUS else _bolus_duration(meta),
        slice_delays_s=_slice_delays(meta, shape[2], settings["slice_timing"]),
        suppression_pulses=_suppression_pulses(meta, settings["suppression_pulses"]),
        efficiency=meta.number("LabelingEfficiency", above=0, most=1) if "LabelingEfficiency" in meta else None,
        m0_type=m0_type,
        m0_repetition_time_s=_m0_repetition_time(meta, types, m0_type, m0),
        m0_estimate=meta.number("M0Estimate", above=0) if m0_type == "Estimate" else None,
        field_strength_t=meta.number("MagneticFieldStrength", above=0, most=20),
    )


def read_context(asl, volumes: int) -> tuple[str, ...]:
    """The type of each volume from ``aslcontext.tsv``.

    Raises:
        DataError: the table is missing, has another number of rows than the image has volumes, or an unknown type.
    """
    stem = Path(asl).name.removesuffix(".gz").removesuffix(".nii").removesuffix("_asl")
    path = Path(asl).with_name(f"{stem}_aslcontext.tsv")
    if not path.exists():
        raise DataError(
            "The ASL series has no aslcontext.tsv", file=path, remedy="say which volume is control or label"
        )
    header, *rows = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if header != "volume_type" or len(rows) != volumes:
        raise DataError(
            "aslcontext.tsv does not describe the series",
            file=path,
            found=f"column {header!r}, {len(rows)} rows",
            allowed=f"column 'volume_type', {volumes} rows",
            remedy="write one row per volume",
        )
    unknown = sorted(set(rows) - set(VOLUME_TYPES))
    if unknown:
        raise DataError("Unknown volume type", file=path, found=unknown, allowed=", ".join(VOLUME_TYPES))
    if not {"control", "label"} <= set(rows) and "deltam" not in rows:
        raise DataError(
            "The series holds no control and label volumes and no difference images",
            file=path, found=sorted(set(rows)), remedy="a CBF map of the scanner is not quantified again",
        )  # fmt: skip
    return tuple(rows)


class _Sidecar:
    """A BIDS sidecar whose fields are read by type and range."""

    def __init__(self, image):
        self.path = sidecar_path(image)
        if not self.path.exists():
            raise DataError("The image has no sidecar", file=self.path, remedy="convert the series again")
        self.content: dict[str, Any] = json.loads(self.path.read_text())

    def __contains__(self, name: str) -> bool:
        return self.content.get(name) is not None

    def fail(self, name: str, allowed: str, remedy: str = "correct the sidecar or the study map") -> DataError:
        """The error for a field that cannot be used."""
        found = self.content.get(name, "nothing")
        return DataError(f"{name} cannot be used", file=self.path, found=found, allowed=allowed, remedy=remedy)

    def choice(self, name: str, options: Sequence[str]) -> str:
        value = str(self.content.get(name, "")).upper()
        if value not in options:
            raise self.fail(name, ", ".join(options))
        return value

    def number(self, name: str, *, above: float, most: float = float("inf")) -> float:
        value = self.content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= most:
            raise self.fail(name, f"a number above {above:g}" + (f", at most {most:g}" if most < 1e6 else ""))
        return float(value)

    def numbers(self, name: str) -> list[float]:
        value = self.content.get(name)
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
            raise self.fail(name, "numbers, s")
        return [float(one) for one in values]


def _per_volume(meta: _Sidecar, name: str, types: Sequence[str]) -> list[float]:
    """A time per volume; positive and credible for every volume that carries perfusion."""
    values = meta.numbers(name)
    values = values * len(types) if len(values) == 1 else values
    if len(values) != len(types):
        raise meta.fail(name, f"one value, or one for each of the {len(types)} volumes")
    if not all(0 < time <= LONGEST_TIME_S for time, kind in zip(values, types, strict=True) if kind in _PERFUSION):
        raise meta.fail(name, f"above 0 and at most {LONGEST_TIME_S:g} s for every control, label and deltam volume")
    return [time if kind in _PERFUSION else 0.0 for time, kind in zip(values, types, strict=True)]


_PERFUSION = ("control", "label", "deltam")


def _delays(meta: _Sidecar, types: Sequence[str]) -> tuple[float, ...]:
    return tuple(_per_volume(meta, "PostLabelingDelay", types))


def _label_duration(meta: _Sidecar, types: Sequence[str]) -> float:
    durations = {time for time in _per_volume(meta, "LabelingDuration", types) if time}
    if len(durations) != 1:
        raise meta.fail("LabelingDuration", "the same duration for all volumes")
    return durations.pop()


def _bolus_duration(meta: _Sidecar) -> float:
    """TI1 of PASL: without a bolus cut-off its bolus has no known duration."""
    technique = str(meta.content.get("BolusCutOffTechnique", "")).upper().replace(" ", "").replace("-", "")
    if meta.content.get("BolusCutOffFlag") is not True:
        raise meta.fail("BolusCutOffFlag", "true (QUIPSS, QUIPSS II or Q2TIPS)", "PASL without it cannot be quantified")
    if technique and technique not in PULSED_CUTOFFS:
        raise meta.fail("BolusCutOffTechnique", ", ".join(PULSED_CUTOFFS))
    first = meta.numbers("BolusCutOffDelayTime")[0]
    if not 0 < first <= LONGEST_TIME_S:
        raise meta.fail("BolusCutOffDelayTime", f"above 0 and at most {LONGEST_TIME_S:g} s")
    return first


def _slice_delays(meta: _Sidecar, slices: int, use: str) -> tuple[float, ...] | None:
    if str(meta.content.get("MRAcquisitionType", "")).upper() == "3D" or use == "ignore":
        return None
    if "SliceTiming" not in meta:
        if meta.content.get("MRAcquisitionType") is None:
            raise meta.fail("MRAcquisitionType", "2D or 3D")
        raise meta.fail("SliceTiming", f"{slices} times, s", "add it, or set asl.slice_timing: ignore")
    times = meta.numbers("SliceTiming")
    if len(times) != slices or max(times) - min(times) > LONGEST_TIME_S:
        raise meta.fail("SliceTiming", f"{slices} times within {LONGEST_TIME_S:g} s")
    if str(meta.content.get("SliceEncodingDirection", "k")).endswith("-"):
        times = times[::-1]
    return tuple(time - min(times) for time in times)


def _suppression_pulses(meta: _Sidecar, setting: int | None) -> int:
    if setting is not None:
        return setting
    if not meta.content.get("BackgroundSuppression"):
        return 0
    pulses = meta.content.get("BackgroundSuppressionNumberPulses")
    if isinstance(pulses, bool) or not isinstance(pulses, int) or not 0 < pulses <= 10:
        raise meta.fail(
            "BackgroundSuppressionNumberPulses", "1 to 10", "add it, or set asl.suppression_pulses: it scales CBF"
        )
    return pulses


def _m0_type(meta: _Sidecar, types: Sequence[str], m0) -> str:
    """Where the M0 is: what the sidecar says, if the files agree."""
    stated = str(meta.content.get("M0Type", "")).capitalize()
    if stated not in M0_TYPES:
        raise meta.fail("M0Type", ", ".join(M0_TYPES))
    there = {"Separate": m0 is not None, "Included": "m0scan" in types, "Estimate": "M0Estimate" in meta}
    if not there.get(stated, True):
        needed = {"Separate": "a separate M0 image", "Included": "an m0scan volume", "Estimate": "M0Estimate"}[stated]
        raise DataError(f"M0Type is {stated}, but the session has not {needed}", file=meta.path, allowed=needed)
    return stated


def _m0_repetition_time(meta: _Sidecar, types: Sequence[str], m0_type: str, m0) -> float | None:
    if m0_type == "Estimate":
        return None
    source = _Sidecar(m0) if m0_type == "Separate" else meta
    name = "RepetitionTimePreparation" if "RepetitionTimePreparation" in source else "RepetitionTime"
    times = source.numbers(name)
    wanted = "m0scan" if m0_type == "Included" else "control"
    if len(times) > 1 and m0_type != "Separate" and len(times) == len(types) and wanted in types:
        times = [times[list(types).index(wanted)]]
    if not 0 < times[0] <= LONGEST_REPETITION_S:
        raise source.fail(name, f"above 0 and at most {LONGEST_REPETITION_S:g} s")
    return times[0]
