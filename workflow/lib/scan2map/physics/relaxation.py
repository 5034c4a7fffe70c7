"""Signal of spin-echo, gradient-echo and inversion-recovery sequences against T1 and T2. Times in s.

References:
    [1] Bernstein, King, Zhou, Handbook of MRI Pulse Sequences (2004), ch. 14.
    [2] Marques et al., NeuroImage 49:1271 (2010), MP2RAGE.
    [3] Hajnal et al., J Comput Assist Tomogr 16:841 (1992), FLAIR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scan2map.physics.backend import array_namespace


@dataclass(frozen=True)
class ReadoutTrain:
    """One train of gradient-echo readouts after an inversion.

    Attributes:
        inversion_time_s: from the inversion to the centre of k-space, s.
        flip_angle_deg: degrees.
    """

    inversion_time_s: float
    flip_angle_deg: float


@dataclass(frozen=True)
class InversionProtocol:
    """MPRAGE (one train) or MP2RAGE (two).

    Attributes:
        repetition_time_s: between inversions, s.
        echo_spacing_s: between readouts, s.
        readouts: per train; the centre of k-space is in the middle.
        trains: in the order of time.
        inversion_efficiency: 0 to 1; 0.96 for an adiabatic pulse [2].
    """

    repetition_time_s: float
    echo_spacing_s: float
    readouts: int
    trains: tuple[ReadoutTrain, ...]
    inversion_efficiency: float = 0.96

    def free_times_s(self) -> list[float]:
        """Free recovery before the first train, between trains, and after the last one, s."""
        half = self.readouts * self.echo_spacing_s / 2
        edges = [0.0]
        for train in self.trains:
            edges += [train.inversion_time_s - half, train.inversion_time_s + half]
        edges.append(self.repetition_time_s)
        return [edges[index + 1] - edges[index] for index in range(0, len(edges), 2)]


def spin_echo(pd, t1_s, t2_s, repetition_time_s, echo_time_s):
    """Spin echo, S = PD (1 − e^(−TR/T1)) e^(−TE/T2), for TE much shorter than TR [1]."""
    xp = array_namespace(pd, t1_s, t2_s)
    return saturation_recovery(pd, t1_s, repetition_time_s) * xp.exp(-echo_time_s / t2_s)


def saturation_recovery(pd, t1_s, recovery_time_s):
    """Recovery after 90 degrees, S = PD (1 − e^(−t/T1)) [1]."""
    xp = array_namespace(pd, t1_s, recovery_time_s)
    return pd * (1 - xp.exp(-recovery_time_s / t1_s))


def spoiled_gradient_echo(pd, t1_s, t2star_s, repetition_time_s, echo_time_s, flip_angle_deg):
    """Steady state of a spoiled gradient echo, S = PD sin a (1 − E1)/(1 − E1 cos a) e^(−TE/T2*) [1]."""
    xp = array_namespace(pd, t1_s, t2star_s)
    flip = math.radians(flip_angle_deg)
    e1 = xp.exp(-repetition_time_s / t1_s)
    return pd * math.sin(flip) * (1 - e1) / (1 - e1 * math.cos(flip)) * xp.exp(-echo_time_s / t2star_s)


def inversion_recovery_spin_echo(pd, t1_s, t2_s, repetition_time_s, inversion_time_s, echo_time_s):
    """Signed inversion-recovery spin echo, S = PD (1 − 2 e^(−TI/T1) + e^(−TR/T1)) e^(−TE/T2) [3].

    Fluid is nulled at TI = T1 ln(2 / (1 + e^(−TR/T1))).
    """
    xp = array_namespace(pd, t1_s, t2_s)
    recovery = 1 - 2 * xp.exp(-inversion_time_s / t1_s) + xp.exp(-repetition_time_s / t1_s)
    return pd * recovery * xp.exp(-echo_time_s / t2_s)


def _recover(state, t1_s, time_s):
    """Free recovery of (a, b), longitudinal magnetisation a·Mz(start) + b with M0 = 1."""
    decay = array_namespace(t1_s).exp(-time_s / t1_s)
    return decay * state[0], 1 - decay * (1 - state[1])


def _read(state, t1_s, spacing_s, flip_rad, count):
    """``count`` readouts with flip angle and recovery in between, on (a, b)."""
    e1 = array_namespace(t1_s).exp(-spacing_s / t1_s)
    keep = math.cos(flip_rad) * e1
    return keep**count * state[0], keep**count * state[1] + (1 - e1) * (1 - keep**count) / (1 - keep)


def inversion_recovery_trains(t1_s, protocol: InversionProtocol) -> list:
    """Signed transverse signal at the centre of k-space of each train, for M0 = 1 and TE = 0 [2].

    The longitudinal magnetisation over one repetition is an affine map of its value before the inversion; its
    fixed point is the steady state.

    Args:
        t1_s: (...,), s.
        protocol: timing.

    Returns:
        One (...,) array per train.
    """
    free_s = protocol.free_times_s()
    state = (-protocol.inversion_efficiency + 0 * t1_s, 0 * t1_s)
    centres = []
    for train, delay_s in zip(protocol.trains, free_s, strict=False):
        flip = math.radians(train.flip_angle_deg)
        before = _read(_recover(state, t1_s, delay_s), t1_s, protocol.echo_spacing_s, flip, protocol.readouts // 2)
        centres.append((before, math.sin(flip)))
        state = _read(before, t1_s, protocol.echo_spacing_s, flip, protocol.readouts - protocol.readouts // 2)
    slope, offset = _recover(state, t1_s, free_s[-1])
    steady = offset / (1 - slope)
    return [sine * (a * steady + b) for (a, b), sine in centres]


def mp2rage_uniform(first, second):
    """Uniform image of MP2RAGE, Re(S1* S2) / (|S1|² + |S2|²), between −0.5 and 0.5 [2].

    Proton density, T2* and the receive field cancel. 0 where both images are 0.

    Args:
        first, second: complex (or signed) images of the two inversion times.
    """
    xp = array_namespace(first, second)
    power = abs(first) ** 2 + abs(second) ** 2
    product = first.conj() * second
    return product.real / xp.where(power > 0, power, xp.ones_like(power))
