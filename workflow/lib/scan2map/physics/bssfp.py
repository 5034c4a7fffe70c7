"""Balanced steady-state free precession with phase cycling.

References:
    [1] Freeman, Hill, J Magn Reson 4:366 (1971); Hargreaves, J Magn Reson Imaging 36:1300 (2012), steady state.
    [2] Miller, Smith, Jezzard, Magn Reson Med 63:385 (2010), asymmetric profiles in white matter.
    [3] Wharton, Bowtell, PNAS 109:18559 (2012), frequency of myelin and axonal water against the fibre angle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scan2map.physics.backend import array_namespace

ISOTROPIC_SIN2 = 2 / 3  # mean of sin² over all directions


@dataclass(frozen=True)
class BssfpProtocol:
    """Repetition and echo time (s), flip angle (degrees), number of equally spaced phase cycles."""

    repetition_time_s: float = 0.0048
    echo_time_s: float = 0.0024
    flip_angle_deg: float = 15.0
    phase_cycles: int = 12

    @property
    def increments_rad(self) -> np.ndarray:
        """RF phase increment of each cycle, rad: 2π k / n."""
        return 2 * math.pi * np.arange(self.phase_cycles) / self.phase_cycles


@dataclass(frozen=True)
class MyelinWater:
    """The second water pool of white matter and the frequency shifts against the fibre angle.

    A pool's shift is ``shift · sin²(angle between fibre and B0)``: the leading term of the hollow-cylinder model;
    values scaled from 7 T to 3 T from [3].

    Attributes:
        fraction: share of the white-matter signal, 0 to 1; a number, or one per voxel.
        t1_s, t2_s: relaxation times of myelin water, s.
        shift_hz: shift of myelin water at 90 degrees, Hz.
        axonal_shift_hz: shift of axonal water at 90 degrees, Hz.
        orientation: whether the shifts follow the fibre angle; if not, every fibre has the mean over all directions
            and the signal carries no orientation (the control experiment).
    """

    fraction: float | np.ndarray = 0.12
    t1_s: float = 0.45
    t2_s: float = 0.015
    shift_hz: float = 15.0
    axonal_shift_hz: float = -3.0
    orientation: bool = True


def steady_state_signal(m0, t1_s, t2_s, off_resonance_hz, increment_rad, protocol: BssfpProtocol):
    """Complex bSSFP signal of one isochromat at the echo time [1].

    With θ = 2π Δf TR − φ, D = 1 − E1 cos a − E2² (E1 − cos a), M = M0 (1 − E1) sin a / D and
    b = E2 (1 − E1)(1 + cos a) / D:  S = i M (1 − E2 e^(iθ)) / (1 − b cos θ) · e^(−TE/T2) · e^(−i 2π Δf TE).
    Precession is clockwise (phase −2π Δf t), the pulse acts along x in the frame that follows the RF phase.

    Args:
        m0: equilibrium magnetisation.
        t1_s, t2_s: relaxation times, s.
        off_resonance_hz: Δf, Hz.
        increment_rad: RF phase increment φ per TR, rad.
        protocol: timing and flip angle.

    Returns:
        Complex signal, arguments broadcast against each other.
    """
    xp = array_namespace(m0, t1_s, t2_s, off_resonance_hz, increment_rad)
    flip = math.radians(protocol.flip_angle_deg)
    e1 = xp.exp(-protocol.repetition_time_s / t1_s)
    e2 = xp.exp(-protocol.repetition_time_s / t2_s)
    denominator = 1 - e1 * math.cos(flip) - e2**2 * (e1 - math.cos(flip))
    amplitude = m0 * (1 - e1) * math.sin(flip) / denominator * xp.exp(-protocol.echo_time_s / t2_s)
    coupling = e2 * (1 - e1) * (1 + math.cos(flip)) / denominator
    theta = 2 * math.pi * off_resonance_hz * protocol.repetition_time_s - increment_rad
    profile = (1 - e2 * xp.exp(1j * theta)) / (1 - coupling * xp.cos(theta))
    return 1j * amplitude * profile * xp.exp(-2j * math.pi * off_resonance_hz * protocol.echo_time_s)


def two_pool_signal(m0, t1_s, t2_s, off_resonance_hz, fibre_sin2, increment_rad, protocol, myelin: MyelinWater):
    """White-matter signal of axonal and myelin water whose frequencies depend on the fibre angle to B0 [2, 3].

    One isochromat has a profile symmetric in frequency; the shift between the pools makes it asymmetric, and this
    is the only way in which fibre orientation enters.

    Args:
        m0, t1_s, t2_s: equilibrium magnetisation (both pools) and relaxation times of the axonal pool, s.
        off_resonance_hz: Δf of the field, Hz.
        fibre_sin2: sin² of the angle between fibre and B0.
        increment_rad: RF phase increment per TR, rad.
        protocol: timing and flip angle.
        myelin: the second pool.
    """
    fibre_sin2 = fibre_sin2 if myelin.orientation else ISOTROPIC_SIN2
    axonal_hz = off_resonance_hz + myelin.axonal_shift_hz * fibre_sin2
    myelin_hz = off_resonance_hz + myelin.shift_hz * fibre_sin2
    relaxation = (myelin.t1_s + 0 * off_resonance_hz, myelin.t2_s + 0 * off_resonance_hz)
    axonal = steady_state_signal((1 - myelin.fraction) * m0, t1_s, t2_s, axonal_hz, increment_rad, protocol)
    return axonal + steady_state_signal(myelin.fraction * m0, *relaxation, myelin_hz, increment_rad, protocol)
