"""Phase encoding of EPI: its voxel axis, readout times, and which volumes share one acquisition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scan2map.errors import DataError

READOUT_TOLERANCE = 1e-3  # readout times that differ by less (relative) are one acquisition: sidecars round
SMALLEST_CONTRAST = 0.2  # of the longest readout time: less difference in displacement drowns in noise
PHASE_ENCODING_DIRECTIONS = ("i", "i-", "j", "j-", "k", "k-")


def phase_axis(direction: str) -> tuple[int, int]:
    """Voxel axis (0, 1, 2) and sign (+1, -1) of a BIDS PhaseEncodingDirection.

    Raises:
        DataError: the direction is not one of i, i-, j, j-, k, k-.
    """
    if direction not in PHASE_ENCODING_DIRECTIONS:
        raise DataError(
            "The phase-encoding direction is not known",
            found=repr(direction),
            allowed=", ".join(PHASE_ENCODING_DIRECTIONS),
            remedy="correct PhaseEncodingDirection in the sidecar",
        )
    return "ijk".index(direction[0]), -1 if direction.endswith("-") else 1


def check_readout_time(readout_time_s) -> float:
    """The total readout time in seconds as a number.

    Raises:
        DataError: it is missing, not a number, not positive, or a second or longer (milliseconds were given).
    """
    number = isinstance(readout_time_s, (int, float, np.number)) and not isinstance(readout_time_s, bool)
    if not number or not np.isfinite(readout_time_s) or not 0 < readout_time_s < 1:
        raise DataError(
            "The total readout time cannot be used",
            found=f"{readout_time_s!r} s",
            allowed="more than 0 and less than 1 s",
            remedy="correct TotalReadoutTime in the sidecar: (phase-encoding lines - 1) x effective echo spacing",
        )
    return float(readout_time_s)


def group_acquisitions(phase_encoding: Sequence[str], readout_times_s: Sequence[float]) -> np.ndarray:
    """Number of the acquisition (direction and readout time) of each volume, in order of appearance; shape (n,)."""
    firsts: list[tuple[str, float]] = []
    groups = []
    for way, time in zip(phase_encoding, readout_times_s, strict=True):
        same = [other == way and abs(time - first) <= READOUT_TOLERANCE * first for other, first in firsts]
        if not any(same):
            firsts.append((way, time))
            same.append(True)
        groups.append(same.index(True))
    return np.array(groups)


def is_opposed(phase_encoding: Sequence[str], readout_times_s: Sequence[float]) -> bool:
    """Whether some volumes are displaced differently enough by one field to tell it."""
    seconds = np.zeros((len(phase_encoding), 3))
    for row, way, time in zip(seconds, phase_encoding, readout_times_s, strict=True):
        axis, sign = phase_axis(way)
        row[axis] = sign * time
    return tells_field(seconds)


def tells_field(displacement_s: np.ndarray) -> bool:
    """The same from displacements per Hz of field, (n, 3), s: readout times with the signs of their directions."""
    return bool(np.ptp(displacement_s, axis=0).max() >= SMALLEST_CONTRAST * np.abs(displacement_s).max())
