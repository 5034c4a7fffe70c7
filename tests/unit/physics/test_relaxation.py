"""Sequence signals against iterated Bloch equations, null points and textbook limits."""

import numpy as np
import pytest

from scan2map.physics import relaxation as rx

MP2RAGE = rx.InversionProtocol(5.0, 0.007, 160, (rx.ReadoutTrain(0.7, 4.0), rx.ReadoutTrain(2.5, 5.0)))


def iterated_trains(t1_s, protocol, repetitions=30):
    """Longitudinal magnetisation pulse by pulse until it no longer changes; signal of the central pulse per train."""
    mz, centres = 1.0, []

    def recover(value, time_s):
        return 1 - (1 - value) * np.exp(-time_s / t1_s)

    for _ in range(repetitions):
        mz, clock, centres = -protocol.inversion_efficiency * mz, 0.0, []
        for train in protocol.trains:
            start = train.inversion_time_s - protocol.readouts * protocol.echo_spacing_s / 2
            mz, clock = recover(mz, start - clock), start
            for readout in range(protocol.readouts):
                if readout == protocol.readouts // 2:
                    centres.append(mz * np.sin(np.radians(train.flip_angle_deg)))
                mz = recover(mz * np.cos(np.radians(train.flip_angle_deg)), protocol.echo_spacing_s)
                clock += protocol.echo_spacing_s
        mz = recover(mz, protocol.repetition_time_s - clock)
    return centres


@pytest.mark.parametrize("t1_s", [0.8, 1.35, 4.3])
def test_mp2rage_is_the_iterated_sequence(t1_s):
    value = rx.inversion_recovery_trains(np.float64(t1_s), MP2RAGE)
    assert value == pytest.approx(iterated_trains(t1_s, MP2RAGE), rel=1e-9)


def test_one_train_is_an_mprage():
    protocol = rx.InversionProtocol(2.3, 0.007, 176, (rx.ReadoutTrain(0.9, 8.0),), inversion_efficiency=1.0)
    value = rx.inversion_recovery_trains(np.array([0.8, 1.35]), protocol)[0]
    assert value == pytest.approx([iterated_trains(t1, protocol)[0] for t1 in (0.8, 1.35)], rel=1e-9)


def test_free_times_fill_the_repetition():
    assert MP2RAGE.free_times_s() == pytest.approx([0.14, 0.68, 1.94])


def test_uniform_image_is_bounded_and_blind_to_the_receive_field():
    first, second = np.array([-30.0, 10.0, 0.0]), np.array([100.0, 10.0, 0.0])
    uniform = rx.mp2rage_uniform(first, second)
    assert uniform == pytest.approx([-3000 / 10900, 0.5, 0.0])
    assert rx.mp2rage_uniform(first * (2 + 1j), second * (2 + 1j)) == pytest.approx(uniform)


def test_fluid_is_nulled_at_its_inversion_time():
    t1_s, tr_s = 4.3, 9.0
    null_s = t1_s * np.log(2 / (1 + np.exp(-tr_s / t1_s)))
    assert rx.inversion_recovery_spin_echo(1.0, np.float64(t1_s), np.float64(2.0), tr_s, null_s, 0.1) == pytest.approx(
        0, abs=1e-12
    )


def test_gradient_echo_peaks_at_the_ernst_angle():
    t1_s, tr_s = np.float64(0.9), 0.02
    angles = np.arange(1, 60, 0.01)
    signal = [rx.spoiled_gradient_echo(1.0, t1_s, np.float64(0.05), tr_s, 0.0, angle) for angle in angles]
    assert angles[np.argmax(signal)] == pytest.approx(np.degrees(np.arccos(np.exp(-tr_s / t1_s))), abs=0.02)


def test_spin_echo_by_hand():
    # 0.7 · (1 − e^(−2)) · e^(−1)
    assert rx.spin_echo(0.7, np.float64(1.0), np.float64(0.08), 2.0, 0.08) == pytest.approx(0.2226660, rel=1e-5)


def test_long_repetition_recovers_the_proton_density():
    assert rx.saturation_recovery(0.83, np.float64(1.35), 100.0) == pytest.approx(0.83)
