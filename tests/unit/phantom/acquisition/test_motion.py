"""Head motion: size, start, and the parameters that describe it."""

import numpy as np
import pytest

from scan2map.phantom.acquisition import motion
from scan2map.phantom.deformation import rigid_matrix

SETTINGS = {
    "enabled": True,
    "translation_rms_mm": 0.8,
    "rotation_rms_deg": 0.5,
    "between_series_mm": 1.0,
    "between_series_deg": 1.0,
}
CENTRE = (3.0, -18.0, 8.0)


def generator():
    return np.random.default_rng(11)


def test_a_track_starts_at_rest_and_has_the_asked_size():
    track = motion.motion_track(50, SETTINGS, generator(), CENTRE)
    parameters = np.array([motion.motion_parameters(one, CENTRE) for one in track])
    assert track[0] == pytest.approx(np.eye(4))
    assert np.sqrt((parameters[:, :3] ** 2).mean(0)) == pytest.approx([0.8] * 3, rel=1e-6)
    assert np.degrees(np.sqrt((parameters[:, 3:] ** 2).mean(0))) == pytest.approx([0.5] * 3, rel=1e-2)


def test_motion_can_be_switched_off():
    still = SETTINGS | {"enabled": False}
    assert np.array(motion.motion_track(4, still, generator(), CENTRE)) == pytest.approx(np.stack([np.eye(4)] * 4))
    assert motion.resting_place(still, generator(), CENTRE) == pytest.approx(np.eye(4))


def test_one_volume_does_not_move():
    assert len(motion.motion_track(1, SETTINGS, generator(), CENTRE)) == 1


def test_parameters_give_the_motion_back():
    matrix = rigid_matrix([1, -2, 0.5], [3, -2, 5], CENTRE)
    parameters = motion.motion_parameters(matrix, CENTRE)
    assert parameters == pytest.approx([1, -2, 0.5, *np.radians([3, -2, 5])])


def test_resting_places_have_the_asked_spread():
    rng = generator()
    shifts = [motion.motion_parameters(motion.resting_place(SETTINGS, rng, CENTRE), CENTRE) for _ in range(400)]
    spread = np.std(shifts, axis=0)
    assert spread[:3] == pytest.approx([1.0] * 3, rel=0.15)
    assert np.degrees(spread[3:]) == pytest.approx([1.0] * 3, rel=0.15)
