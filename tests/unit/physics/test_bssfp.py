"""bSSFP against the steady state of iterated Bloch rotations."""

import math

import numpy as np
import pytest
import torch

from scan2map.physics.bssfp import BssfpProtocol, MyelinWater, steady_state_signal, two_pool_signal

PROTOCOL = BssfpProtocol(0.0048, 0.0024, 15.0, 12)
T1, T2 = 0.9, 0.07


def rotation_x(angle):
    return np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])


def rotation_z(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def iterated_signal(off_resonance_hz, increment_rad, repetitions=2800, t1_s=T1, t2_s=T2):
    """Pulse about an axis that turns by the increment each TR; free precession is clockwise; read at TE."""
    flip, tr, te = math.radians(PROTOCOL.flip_angle_deg), PROTOCOL.repetition_time_s, PROTOCOL.echo_time_s

    def evolve(m, time_s):
        decay = np.diag([np.exp(-time_s / t2_s), np.exp(-time_s / t2_s), np.exp(-time_s / t1_s)])
        return decay @ rotation_z(-2 * np.pi * off_resonance_hz * time_s) @ m + [0, 0, 1 - np.exp(-time_s / t1_s)]

    m, phase = np.array([0.0, 0, 1]), 0.0
    for _ in range(repetitions):
        m = rotation_z(phase) @ rotation_x(-flip) @ rotation_z(-phase) @ m
        echo = evolve(m, te)
        m, last = evolve(m, tr), phase
        phase = phase - increment_rad
    return (echo[0] + 1j * echo[1]) * np.exp(-1j * last)


@pytest.mark.parametrize("off_resonance_hz", [-60.0, 0.0, 23.0, 104.0])
@pytest.mark.parametrize("increment_deg", [90.0, 300.0])
def test_steady_state_is_that_of_iterated_rotations(off_resonance_hz, increment_deg):
    expected = iterated_signal(off_resonance_hz, math.radians(increment_deg))
    value = steady_state_signal(1.0, T1, T2, off_resonance_hz, math.radians(increment_deg), PROTOCOL)
    assert value == pytest.approx(expected, abs=1e-6)


def test_phase_cycles_are_equally_spaced():
    assert PROTOCOL.increments_rad == pytest.approx(np.radians(30 * np.arange(12)))


def test_one_pool_profile_is_symmetric_in_frequency():
    hz = np.linspace(-100, 100, 21)
    profile = abs(steady_state_signal(1.0, T1, T2, hz, 0.0, PROTOCOL))
    assert profile == pytest.approx(profile[::-1])


def asymmetry(sin2):
    hz = np.linspace(-100, 100, 41)
    profile = abs(two_pool_signal(1.0, T1, T2, hz, sin2, 0.0, PROTOCOL, MyelinWater()))
    return np.abs(profile - profile[::-1]).max() / profile.max()


def test_fibres_across_the_field_make_the_profile_asymmetric():
    assert asymmetry(0.0) < 1e-9
    assert asymmetry(1.0) > 2 * asymmetry(0.3) > 0


@pytest.mark.parametrize("angle_deg", [0.0, 54.7, 90.0])
def test_two_pools_are_the_sum_of_iterated_isochromats(angle_deg):
    myelin, field_hz, sin2 = MyelinWater(), 12.0, np.sin(np.radians(angle_deg)) ** 2
    axonal = iterated_signal(field_hz + myelin.axonal_shift_hz * sin2, np.pi)
    second = iterated_signal(field_hz + myelin.shift_hz * sin2, np.pi, t1_s=myelin.t1_s, t2_s=myelin.t2_s)
    expected = (1 - myelin.fraction) * axonal + myelin.fraction * second
    assert two_pool_signal(1.0, T1, T2, field_hz, sin2, np.pi, PROTOCOL, myelin) == pytest.approx(expected, abs=1e-6)


def profile(sin2, myelin, offset_hz=0.0):
    """Signal of all phase cycles, relative to its mean magnitude."""
    signal = two_pool_signal(1.0, T1, T2, offset_hz, sin2, PROTOCOL.increments_rad, PROTOCOL, myelin)
    return signal / np.abs(signal).mean()


def test_the_signal_knows_the_fibre_angle_only_through_the_orientation_term():
    across, along = profile(1.0, MyelinWater()), profile(0.0, MyelinWater())
    assert np.abs(across - along).max() > 0.1
    off = MyelinWater(orientation=False)
    assert np.array_equal(profile(1.0, off), profile(0.0, off))
    assert profile(0.3, off) == pytest.approx(profile(2 / 3, MyelinWater()))


def test_a_field_offset_does_not_look_like_a_fibre():
    """Even the best-fitting field offset leaves part of the effect: the two pools move against each other."""
    across = profile(1.0, MyelinWater())
    best = min(np.linalg.norm(across - profile(0.0, MyelinWater(), hz)) for hz in np.arange(-6, 6, 0.05))
    assert best > 0.01 * np.linalg.norm(across)


def test_without_myelin_water_the_pools_are_one_shifted_isochromat():
    myelin = MyelinWater(fraction=0.0, axonal_shift_hz=-3.0)
    value = two_pool_signal(1.0, T1, T2, 20.0, 0.5, 1.0, PROTOCOL, myelin)
    assert value == pytest.approx(steady_state_signal(1.0, T1, T2, 18.5, 1.0, PROTOCOL))


def test_torch_and_numpy_agree():
    hz = np.linspace(-80, 80, 9)
    expected = steady_state_signal(np.ones(9), np.full(9, T1), np.full(9, T2), hz, 0.5, PROTOCOL)
    tensors = [torch.tensor(values) for values in (np.ones(9), np.full(9, T1), np.full(9, T2), hz)]
    assert steady_state_signal(*tensors, 0.5, PROTOCOL).numpy() == pytest.approx(expected)
