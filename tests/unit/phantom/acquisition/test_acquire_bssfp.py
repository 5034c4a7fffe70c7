"""Phase-cycled bSSFP of the ball."""

import dataclasses

import numpy as np
import pytest
from nested_balls import FIBRE

from scan2map.phantom.acquisition import bssfp
from scan2map.phantom.deformation import rigid_matrix
from scan2map.physics.bssfp import BssfpProtocol, MyelinWater, steady_state_signal, two_pool_signal


def middle(image):
    return image[tuple(n // 2 for n in image.shape[:3])]


def complex_series(scanner):
    magnitude, phase = bssfp.acquire(scanner).series
    return magnitude.data * np.exp(1j * phase.data)


def test_white_matter_shows_its_two_pools_in_every_cycle(make_scanner, with_field):
    scanner = make_scanner(subject=with_field(lambda position: 25 + 0 * position[..., 0]))
    protocol = BssfpProtocol()
    values = [
        two_pool_signal(0.7, 0.85, 0.07, 25.0, 1 - FIBRE[2] ** 2, phase, protocol, MyelinWater())
        for phase in protocol.increments_rad
    ]
    magnitude = bssfp.acquire(scanner).series[0].data
    assert middle(magnitude) == pytest.approx(12_000 * np.abs(values), rel=1e-3)


def test_phase_between_points_of_one_cycle_is_that_of_the_physics(make_scanner, with_field):
    subject = with_field(lambda position: 0.4 * position[..., 0])
    data = complex_series(make_scanner(subject=subject))
    flat = complex_series(make_scanner())  # same unknown coil phase and offsets, no field
    index = tuple(n // 2 for n in data.shape[:3])
    other = (index[0] + 2, *index[1:])
    hz = 0.4 * 6.0 * (np.array([index[0], other[0]]) - (data.shape[0] - 1) / 2)
    increment = BssfpProtocol().increments_rad[6]
    expected = [
        two_pool_signal(0.7, 0.85, 0.07, one, 1 - FIBRE[2] ** 2, increment, BssfpProtocol(), MyelinWater())
        for one in hz
    ]
    at_zero = two_pool_signal(0.7, 0.85, 0.07, 0.0, 1 - FIBRE[2] ** 2, increment, BssfpProtocol(), MyelinWater())
    for where, value in zip((index, other), expected, strict=True):
        turned = np.angle(data[(*where, 6)] / flat[(*where, 6)])
        assert turned == pytest.approx(np.angle(value / at_zero), abs=0.02)


def test_turning_the_head_changes_the_profile_of_white_matter_only(make_scanner, with_field):
    # grey matter carries no myelin water: one isochromat, blind to orientation
    subject = with_field(lambda position: 40 + 0 * position[..., 0])
    turned = rigid_matrix([0, 0, 0], [0, -53.13, 0], (0, 0, 0))
    before, after = (
        bssfp.acquire(make_scanner(subject=subject, pose=pose)).series[0].data for pose in (np.eye(4), turned)
    )
    change = np.abs(after - before) / np.maximum(before, 1)
    gm = (before.shape[0] // 2 + 4, before.shape[1] // 2, before.shape[2] // 2)  # 27 mm from the centre
    assert change[tuple(n // 2 for n in before.shape[:3])].max() > 0.01
    assert change[gm].max() < 0.002


def test_without_the_orientation_term_no_fibre_shows(ball):
    across = dataclasses.replace(
        ball, fibre_direction=np.broadcast_to(np.float32([1, 0, 0]), ball.fibre_direction.shape)
    )
    along = dataclasses.replace(
        ball, fibre_direction=np.broadcast_to(np.float32([0, 0, 1]), ball.fibre_direction.shape)
    )

    def difference(myelin):
        pair = [bssfp.head_signal(head, np.eye(3), 0.0, BssfpProtocol(), myelin) for head in (across, along)]
        white = ball.fibre_fraction > 0
        return np.abs(pair[0] - pair[1])[white].max() / np.abs(pair[0])[white].max()

    assert difference(MyelinWater(orientation=False)) == 0
    assert difference(MyelinWater()) > 0.01


def test_sin2_is_of_the_angle_to_the_main_field_and_tends_to_isotropic(ball):
    turned = rigid_matrix([0, 0, 0], [90, 0, 0], (0, 0, 0))[:3, :3]  # y to z: fibres at cos = 0.8
    sin2 = bssfp.fibre_sin2(ball, turned)
    white = ball.fibre_fraction > 0
    assert sin2[white] == pytest.approx(1 - 0.8**2, abs=1e-5)
    assert sin2[~white] == pytest.approx(2 / 3, abs=1e-5)


def test_grey_matter_is_one_isochromat(ball):
    signal = bssfp.head_signal(ball, np.eye(3), 0.7, BssfpProtocol(), MyelinWater())
    index = (20 + 9, 21, 19)  # 27 mm from the centre
    assert ball.fractions["gm"][index] == 1
    assert signal[index] == pytest.approx(steady_state_signal(0.83, 1.35, 0.1, 0.0, 0.7, BssfpProtocol()), rel=1e-4)


def test_each_cycle_has_its_own_global_phase(make_scanner):
    record = bssfp.acquire(make_scanner()).parameters["bssfp_pc12"]
    assert len(set(record["phase_offset_rad"])) == 12


def test_noise_has_the_asked_ratio(make_scanner):
    still = bssfp.acquire(make_scanner())
    noisy = bssfp.acquire(make_scanner({"noise": {"enabled": True}, "bssfp": {"snr": 10.0}}))
    signal = middle(still.series[0].data).mean()
    assert noisy.parameters["bssfp_pc12"]["noise_sigma"] == pytest.approx(signal / 10, rel=0.01)
