"""What an ASL series says about itself: read from its BIDS files and checked before any image is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scan2map.errors import DataError
from scan2map.preprocess.asl import timing
from scan2map.preprocess.asl.sidecar import Sidecar
from scan2map.preprocess.asl.timing import CONTINUOUS, PULSED, VELOCITY

KINDS = (*CONTINUOUS, *PULSED, *VELOCITY)
VOLUME_TYPES = ("control", "label", "deltam", "m0scan", "noRF", "cbf", "n/a")
M0_TYPES = ("Separate", "Included", "Estimate", "Absent")


@dataclass(frozen=True)
class Labelling:
    """Labelling and timing of one ASL series.

    Attributes:
        kind: ``PCASL``, ``CASL``, ``PASL`` or ``VSASL``.
        volume_types: of each volume, as in ``aslcontext.tsv``.
        delays_s: of each volume: post-labelling delay (PCASL, CASL) or inversion time TI (PASL, VSASL), s; 0 for M0.
        durations_s: of each volume: label duration (PCASL, CASL) or bolus duration (PASL), s; 0 for M0 and VSASL.
        slice_delays_s: time of each slice after the first one, s; None for a 3-D readout.
        suppression_pulses: number of background-suppression pulses.
        efficiency: measured labelling efficiency, or None.
        m0_type: ``Separate``, ``Included``, ``Estimate`` or ``Absent``.
        m0_repetition_time_s: repetition time of the M0 image, s; None where there is none.
        m0_estimate: one M0 value for the whole image, or None.
        field_strength_t: main magnetic field, T.
        echo_time_s: of the series, s, or None where it is not known.
    """

    kind: str
    volume_types: tuple[str, ...]
    delays_s: tuple[float, ...]
    durations_s: tuple[float, ...]
    slice_delays_s: tuple[float, ...] | None
    suppression_pulses: int
    efficiency: float | None
    m0_type: str
    m0_repetition_time_s: float | None
    m0_estimate: float | None
    field_strength_t: float
    echo_time_s: float | None = None

    def volumes_of(self, *types: str) -> list[int]:
        """Indices of the volumes of some types."""
        return [index for index, kind in enumerate(self.volume_types) if kind in types]

    @property
    def labelled_delays_s(self) -> tuple[float, ...]:
        """The different delays of the labelled volumes, s, ascending."""
        used = self.volumes_of("control", "label", "deltam")
        return tuple(sorted({self.delays_s[index] for index in used}))

    @property
    def duration_s(self) -> float:
        """The label or bolus duration of all labelled volumes, s.

        Raises:
            DataError: they have several.
        """
        found = {self.durations_s[index] for index in self.volumes_of("control", "label", "deltam")}
        if len(found) != 1:
            raise DataError(
                "The series has several label durations and the consensus formula takes one",
                found=f"{sorted(found)} s", remedy="it belongs to the multi-delay fit",
            )  # fmt: skip
        return found.pop()

    def restricted_to(self, volumes: Sequence[int]) -> Labelling:
        """The labelling of a series that keeps only some volumes."""
        fields = asdict(self)
        fields["volume_types"] = tuple(self.volume_types[index] for index in volumes)
        fields["delays_s"] = tuple(self.delays_s[index] for index in volumes)
        fields["durations_s"] = tuple(self.durations_s[index] for index in volumes)
        return Labelling(**fields)


def save_labelling(path, labelling: Labelling, **facts) -> None:
    """Write a labelling as JSON, with further facts."""
    from scan2map.provenance import write_json

    write_json(path, asdict(labelling) | facts)


def load_labelling(path) -> Labelling:
    """Read what :func:`save_labelling` wrote."""
    content = json.loads(Path(path).read_text())
    fields = {name: content[name] for name in Labelling.__dataclass_fields__}
    for name in ("volume_types", "delays_s", "durations_s", "slice_delays_s"):
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
    meta = Sidecar(asl)
    kind = meta.choice("ArterialSpinLabelingType", KINDS)
    types = read_context(asl, shape[3] if len(shape) == 4 else 1)
    m0_type = _m0_type(meta, types, m0)
    delays_s = timing.delays(meta, types)
    return Labelling(
        kind=kind,
        volume_types=types,
        delays_s=delays_s,
        durations_s=timing.durations(meta, types, kind, delays_s),
        slice_delays_s=timing.slice_delays(meta, shape[2], settings["slice_timing"]),
        suppression_pulses=timing.suppression_pulses(meta, settings["suppression_pulses"]),
        efficiency=meta.number("LabelingEfficiency", most=1) if "LabelingEfficiency" in meta else None,
        m0_type=m0_type,
        m0_repetition_time_s=timing.m0_repetition_time(meta, types, m0_type, m0),
        m0_estimate=meta.number("M0Estimate") if m0_type == "Estimate" else None,
        field_strength_t=meta.number("MagneticFieldStrength", most=20),
        echo_time_s=timing.echo_time(meta),
    )


def require_m0(labelling: Labelling, without_m0: str) -> None:
    """Stop where there is no M0 and none can be made.

    Args:
        labelling: of a series.
        without_m0: setting: ``stop``, or take the mean ``control`` image.

    Raises:
        DataError: as said.
    """
    if labelling.m0_type != "Absent":
        return
    controls = len(labelling.volumes_of("control"))
    if without_m0 != "control" or not controls or labelling.suppression_pulses:
        raise DataError(
            "The session has no M0 image, and CBF cannot be calibrated",
            found=f"{controls} control volumes, {labelling.suppression_pulses} background-suppression pulses",
            allowed="an M0 image; or control volumes without background suppression and asl.without_m0: control",
            remedy="add the M0 series, or set asl.without_m0: control where the control images allow it",
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
    lines = [line.split("\t") for line in path.read_text().splitlines() if line.strip()]
    header = [name.strip() for name in lines[0]] if lines else []
    if "volume_type" not in header or len(lines) - 1 != volumes:
        raise DataError(
            "aslcontext.tsv does not describe the series",
            file=path,
            found=f"columns {header}, {max(len(lines) - 1, 0)} rows",
            allowed=f"column 'volume_type', {volumes} rows",
            remedy="write one row per volume",
        )
    types = tuple(line[header.index("volume_type")].strip() for line in lines[1:])
    _require_perfusion(types, path)
    return types


def _require_perfusion(types: Sequence[str], path: Path) -> None:
    unknown = sorted(set(types) - set(VOLUME_TYPES))
    if unknown:
        raise DataError("Unknown volume type", file=path, found=unknown, allowed=", ".join(VOLUME_TYPES))
    if not {"control", "label"} <= set(types) and "deltam" not in types:
        raise DataError(
            "The series holds no control and label volumes and no difference images",
            file=path, found=sorted(set(types)),
            remedy="a CBF map of the scanner is not quantified again: export the series that it came from",
        )  # fmt: skip


def _m0_type(meta: Sidecar, types: Sequence[str], m0) -> str:
    """Where the M0 is: what the sidecar says, if the files agree."""
    stated = str(meta.content.get("M0Type", "")).capitalize()
    if stated not in M0_TYPES:
        raise meta.fail("M0Type", ", ".join(M0_TYPES))
    there = {"Separate": m0 is not None, "Included": "m0scan" in types, "Estimate": "M0Estimate" in meta}
    if not there.get(stated, True):
        needed = {"Separate": "a separate M0 image", "Included": "an m0scan volume", "Estimate": "M0Estimate"}[stated]
        raise DataError(f"M0Type is {stated}, but the session has not {needed}", file=meta.path, allowed=needed)
    return stated
