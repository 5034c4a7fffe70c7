"""How the volumes of an arterial spin labelling experiment were labelled and read, in any mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scan2map.errors import SettingError
from scan2map.physics.asl import BLOOD_T1_3T_S, PARTITION_COEFFICIENT_ML_PER_G, labelling_efficiency

CONTINUOUS, PULSED, VELOCITY = "continuous", "pulsed", "velocity"
LABELLING = {"PCASL": CONTINUOUS, "CASL": CONTINUOUS, "PASL": PULSED, "VSASL": VELOCITY}
PER_VOLUME = ("delay_s", "duration_s", "efficiency")


@dataclass(frozen=True)
class LabelDesign:
    """How each difference volume was labelled and read: one entry per volume.

    Attributes:
        kinds: ``PCASL``, ``CASL``, ``PASL`` or ``VSASL``.
        delay_s: post-labelling delay (PCASL, CASL) or time from labelling to readout (PASL, VSASL), s.
        duration_s: label duration τ (PCASL, CASL) or bolus duration (PASL; infinite without cut-off), s; VSASL: unused.
        efficiency: effective labelling efficiency, background suppression included.
        blood_t1_s: T1 of arterial blood, s.
        partition: blood-brain partition coefficient λ, ml/g.
    """

    kinds: tuple[str, ...]
    delay_s: np.ndarray
    duration_s: np.ndarray
    efficiency: np.ndarray
    blood_t1_s: float = BLOOD_T1_3T_S
    partition: float = PARTITION_COEFFICIENT_ML_PER_G

    def __post_init__(self):
        unknown = sorted(set(self.kinds) - set(LABELLING))
        if unknown or not self.kinds:
            raise SettingError("Unknown kind of labelling", found=unknown or "no volume", allowed=", ".join(LABELLING))
        for name in PER_VOLUME:
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != (len(self.kinds),) or np.isnan(values).any():
                raise SettingError(f"{name} needs one number per volume", found=f"{values}", allowed=len(self.kinds))
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.kinds)

    def take(self, volumes: Sequence[int]) -> LabelDesign:
        """The design of some of the volumes."""
        kinds = tuple(self.kinds[index] for index in volumes)
        arrays = (getattr(self, name)[list(volumes)] for name in PER_VOLUME)
        return LabelDesign(kinds, *arrays, self.blood_t1_s, self.partition)

    def kinks_s(self, delay_offset_s: float | np.ndarray = 0.0, arterial_lead_s: float | None = None) -> np.ndarray:
        """Transit times at which the slope of some volume's signal jumps, s, ascending.

        Args:
            delay_offset_s: added to all delays, s: a number, or one per volume.
            arterial_lead_s: with an arterial component that leads by this time, also where its signal jumps.
        """
        delays = self.delay_s + delay_offset_s
        kinds = np.array([LABELLING[kind] for kind in self.kinds])
        ends = np.where(kinds == CONTINUOUS, delays + self.duration_s, delays - self.duration_s)
        points = np.concatenate([delays, ends[kinds != VELOCITY]])
        if arterial_lead_s is not None:
            points = np.concatenate([points, points + arterial_lead_s, [arterial_lead_s]])
        return np.unique(np.round(points[np.isfinite(points) & (points > 0)], 9))


def label_design(
    kind: str,
    delay_s: Sequence[float],
    duration_s: float = float("inf"),
    *,
    efficiency: float,
    suppression_pulses: int = 0,
    blood_t1_s: float = BLOOD_T1_3T_S,
    partition: float = PARTITION_COEFFICIENT_ML_PER_G,
) -> LabelDesign:
    """Design of a series with one kind of labelling: one volume per delay; arguments as in :class:`LabelDesign`.

    Args:
        efficiency: of the labelling itself.
        suppression_pulses: background-suppression pulses that the labelled blood sees.
    """
    count = len(delay_s)
    effective = labelling_efficiency(efficiency, suppression_pulses)
    arrays = (np.asarray(delay_s), np.full(count, duration_s), np.full(count, effective))
    return LabelDesign((kind,) * count, *arrays, blood_t1_s, partition)


def join_designs(*designs: LabelDesign) -> LabelDesign:
    """The volumes of several series behind each other.

    Raises:
        SettingError: the series do not share the T1 of blood and λ.
    """
    constants = {(design.blood_t1_s, design.partition) for design in designs}
    if len(constants) != 1:
        raise SettingError("Joint series need one blood T1 and one partition coefficient", found=sorted(constants))
    arrays = (np.concatenate([getattr(one, name) for one in designs]) for name in PER_VOLUME)
    return LabelDesign(sum((design.kinds for design in designs), ()), *arrays, *constants.pop())
