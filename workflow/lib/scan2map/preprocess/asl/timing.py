"""When the blood of an ASL series was labelled, and when each volume and slice was read: from the sidecar, checked."""

from __future__ import annotations

from collections.abc import Sequence

from scan2map.preprocess.asl.sidecar import LONGEST_ECHO_S, LONGEST_REPETITION_S, LONGEST_TIME_S, Sidecar

CONTINUOUS, PULSED, VELOCITY = ("PCASL", "CASL"), ("PASL",), ("VSASL",)
# Volumes that carry perfusion: their times cannot be zero.
PERFUSION = ("control", "label", "deltam")
CUTOFFS = ("QUIPSS", "QUIPSSII", "Q2TIPS")
# Rounding of the times in a sidecar, s.
TOLERANCE_S = 0.05
MOST_PULSES = 10


def delays(meta: Sidecar, types: Sequence[str]) -> tuple[float, ...]:
    """Post-labelling delay or inversion time of each volume, s; 0 for volumes without perfusion."""
    return _perfused(meta.times("PostLabelingDelay", types, PERFUSION, LONGEST_TIME_S), types)


def durations(meta: Sidecar, types: Sequence[str], kind: str, delays_s: Sequence[float]) -> tuple[float, ...]:
    """Label duration (PCASL, CASL) or bolus duration (PASL) of each volume, s.

    It is 0 for volumes without perfusion, and for VSASL, whose bolus has no duration.

    Raises:
        DataError: it is not said, not credible, or label and delay together are longer than the repetition time.
    """
    if kind in VELOCITY:
        return (0.0,) * len(types)
    if kind in PULSED:
        return _bolus_durations(meta, types, delays_s)
    found = _perfused(meta.times("LabelingDuration", types, PERFUSION, LONGEST_TIME_S), types)
    _require_room(meta, types, [one + delay for one, delay in zip(found, delays_s, strict=True)])
    return found


def _perfused(values: Sequence[float], types: Sequence[str]) -> tuple[float, ...]:
    return tuple(value if kind in PERFUSION else 0.0 for value, kind in zip(values, types, strict=True))


def _require_room(meta: Sidecar, types: Sequence[str], needed_s: Sequence[float]) -> None:
    """Labelling and delay fit into the repetition time, where the sidecar gives it."""
    name = "RepetitionTimePreparation"
    if name not in meta:
        return
    for available, needed in zip(meta.times(name, types, PERFUSION, LONGEST_REPETITION_S), needed_s, strict=True):
        if needed > available + TOLERANCE_S and needed > 0:
            raise meta.fail(name, f"at least {needed:g} s, the label duration and the delay together")


def _bolus_durations(meta: Sidecar, types: Sequence[str], inversion_times_s: Sequence[float]) -> tuple[float, ...]:
    """Duration of the bolus that a cut-off leaves: TI1, or TI − TI1 where the slices are saturated (QUIPSS).

    Source: Wong, Buxton and Frank 1998, MRM 39:702 (QUIPSS, QUIPSS II); Luh et al. 1999, MRM 41:1246 (Q2TIPS).
    """
    if meta.content.get("BolusCutOffFlag") is not True:
        raise meta.fail("BolusCutOffFlag", "true (QUIPSS, QUIPSS II or Q2TIPS)", "PASL without it cannot be quantified")
    technique = str(meta.content.get("BolusCutOffTechnique", "")).upper().replace(" ", "").replace("-", "")
    if technique not in CUTOFFS:
        raise meta.fail("BolusCutOffTechnique", ", ".join(CUTOFFS))
    first = meta.numbers("BolusCutOffDelayTime")[0]
    readouts = [time for time in inversion_times_s if time > 0]
    longest = (min(readouts) if technique == "QUIPSS" else max(readouts)) - TOLERANCE_S
    if not 0 < first <= longest:
        raise meta.fail("BolusCutOffDelayTime", f"above 0 and at most {longest:g} s")
    bolus = [time - first if technique == "QUIPSS" else first for time in inversion_times_s]
    return _perfused(bolus, types)


def slice_delays(meta: Sidecar, slices: int, use: str) -> tuple[float, ...] | None:
    """Time of each slice of a 2-D readout after the first one, s; None for a 3-D readout, or if they are not used.

    Args:
        meta: sidecar of the series.
        slices: of the image.
        use: setting ``asl.slice_timing``.

    Raises:
        DataError: the readout is 2-D and its slice times are missing, or cannot be.
    """
    if use == "ignore" or meta.choice("MRAcquisitionType", ("2D", "3D")) == "3D":
        return None
    if "SliceTiming" not in meta:
        raise meta.fail("SliceTiming", f"{slices} times, s", "add it, or set asl.slice_timing: ignore")
    times = meta.numbers("SliceTiming")
    if len(times) != slices or min(times) < 0 or max(times) > LONGEST_TIME_S:
        raise meta.fail("SliceTiming", f"{slices} times from 0 to {LONGEST_TIME_S:g} s")
    _require_groups(meta, times)
    if str(meta.content.get("SliceEncodingDirection", "k")).endswith("-"):
        times = times[::-1]
    return tuple(time - min(times) for time in times)


def _require_groups(meta: Sidecar, times: Sequence[float]) -> None:
    """Not more slices share a time than were excited together."""
    name = "MultibandAccelerationFactor"
    together = max(times.count(time) for time in times)
    factor = meta.number(name) if name in meta else 1
    if together > factor:
        allowed = f"at most {factor:g} slices at one time ({name}); found {together}"
        raise meta.fail("SliceTiming", allowed, f"correct it or {name}, or set asl.slice_timing: ignore")


def suppression_pulses(meta: Sidecar, setting: int | None) -> int:
    """Number of background-suppression pulses: the setting, else the sidecar.

    Raises:
        DataError: background suppression is not mentioned, or used with an unknown number of pulses.
    """
    if setting is not None:
        return setting
    remedy = "add it, or set asl.suppression_pulses: it scales CBF"
    if not meta.flag("BackgroundSuppression", remedy):
        return 0
    times, number = "BackgroundSuppressionPulseTime", "BackgroundSuppressionNumberPulses"
    listed = len(meta.numbers(times)) if times in meta else None
    pulses = meta.content.get(number, listed)
    if isinstance(pulses, bool) or not isinstance(pulses, int) or not 0 < pulses <= MOST_PULSES:
        raise meta.fail(number, f"1 to {MOST_PULSES}", remedy)
    if listed not in (None, pulses):
        raise meta.fail(times, f"{pulses} times ({number})")
    return pulses


def m0_repetition_time(meta: Sidecar, types: Sequence[str], m0_type: str, m0) -> float | None:
    """Repetition time of the M0 image, or of the control images that stand for it, s; None for an estimate.

    Raises:
        DataError: it is missing or not credible, or the M0 volumes have several.
    """
    if m0_type == "Estimate":
        return None
    separate = m0_type == "Separate"
    source = Sidecar(m0) if separate else meta
    name = "RepetitionTimePreparation" if "RepetitionTimePreparation" in source else "RepetitionTime"
    role = {"Included": "m0scan", "Absent": "control"}.get(m0_type, "M0")
    volumes = [role] * len(source.numbers(name)) if separate else types
    times = source.times(name, volumes, (role,), LONGEST_REPETITION_S)
    found = {time for time, kind in zip(times, volumes, strict=True) if kind == role}
    if len(found) > 1:
        raise source.fail(name, f"the same repetition time for all {role} volumes")
    return found.pop() if found else None


def echo_time(meta: Sidecar) -> float | None:
    """Echo time of the series, s; None where the sidecar does not give it.

    Raises:
        DataError: several echoes, or a time that is not credible.
    """
    if "EchoTime" not in meta:
        return None
    found = set(meta.numbers("EchoTime"))
    if len(found) != 1 or not 0 < min(found) <= LONGEST_ECHO_S:
        raise meta.fail("EchoTime", f"one time above 0 and at most {LONGEST_ECHO_S:g} s")
    return found.pop()
