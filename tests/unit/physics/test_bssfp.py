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


def iterated_signal(off_resonance_hz, increment_rad, repetitions=2800):
    """Pulse about an axis that turns by the increment each TR; free precession is clockwise; read at TE."""
    flip, tr, te = math.radians(PROTOCOL.flip_angle_deg), PROTOCOL.repetition_time_s, PROTOCOL.echo_time_s

    def evolve(m, time_s):
        decay = np.diag([np.exp(-time_s / T2), np.exp(-time_s / T2), np.exp(-time_s / T1)])
        return decay @ rotation_z(-2 * np.pi * off_resonance_hz * time_s) @ m + [0, 0, 1 - np.exp(-time_s / T1)]

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


def test_without_myelin_water_the_pools_are_one_shifted_isochromat():
    myelin = MyelinWater(fraction=0.0, axonal_shift_hz=-3.0)
    value = two_pool_signal(1.0, T1, T2, 20.0, 0.5, 1.0, PROTOCOL, myelin)
    assert value == pytest.approx(steady_state_signal(1.0, T1, T2, 18.5, 1.0, PROTOCOL))


def test_torch_and_numpy_agree():
    hz = np.linspace(-80, 80, 9)
    expected = steady_state_signal(np.ones(9), np.full(9, T1), np.full(9, T2), hz, 0.5, PROTOCOL)
    tensors = [torch.tensor(values) for values in (np.ones(9), np.full(9, T1), np.full(9, T2), hz)]
    assert steady_state_signal(*tensors, 0.5, PROTOCOL).numpy() == pytest.approx(expected)
