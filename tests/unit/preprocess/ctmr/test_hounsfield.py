"""CT numbers: windows by hand, and images that are not what a CT must be."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.ctmr.hounsfield import (
    BONE_WINDOW,
    BRAIN_WINDOW,
    SINGLE_WINDOW,
    apply_window,
    check_hounsfield,
    check_right_angles,
)


@pytest.fixture
def head():
    values = np.full((12, 12, 6), -1000.0, dtype=np.float32)
    values[2:10, 2:10] = 1200
    values[3:9, 3:9] = 35
    return values


def test_windows_end_where_their_definition_says():
    assert apply_window([-1000, 0, 40, 80, 2000], BRAIN_WINDOW) == pytest.approx([-2, -2, 0, 2, 2])
    assert apply_window([-500, 500, 1500], BONE_WINDOW) == pytest.approx([-2, 0, 2])
    assert apply_window([-160, 240], SINGLE_WINDOW) == pytest.approx([-2, 2])


def test_the_single_window_shows_no_difference_between_bones_and_the_bone_window_does():
    assert np.ptp(apply_window([400, 900, 1400], SINGLE_WINDOW)) == 0
    assert np.ptp(apply_window([400, 900, 1400], BONE_WINDOW)) == pytest.approx(2.0)


def test_a_head_in_hounsfield_units_is_taken_as_it_is(head):
    assert np.array_equal(check_hounsfield(Image(head, np.eye(4))).data, head)


def test_padding_becomes_air_and_metal_is_clipped(head):
    head[0, 0], head[5, 5, 3] = -3024, 9000
    found = check_hounsfield(Image(head, np.eye(4))).data
    assert found[0, 0, 0] == -1000
    assert found[5, 5, 3] == 3071


def test_a_lost_rescale_intercept_is_refused(head):
    with pytest.raises(DataError, match="not in Hounsfield units"):
        check_hounsfield(Image(head + 1024, np.eye(4)))


def test_a_windowed_copy_is_refused(head):
    with pytest.raises(DataError, match="not in Hounsfield units"):
        check_hounsfield(Image(np.clip((head + 160) / 400, 0, 1) * 255, np.eye(4)))


def test_an_image_without_bone_is_refused(head):
    with pytest.raises(DataError, match="no bone"):
        check_hounsfield(Image(np.minimum(head, 100), np.eye(4)))


def test_several_volumes_are_refused(head):
    with pytest.raises(DataError, match="not a volume"):
        check_hounsfield(Image(np.stack([head, head], -1), np.eye(4)))


def test_a_sheared_grid_is_refused_and_a_rotated_one_is_not():
    angle = np.radians(20)
    turned = np.diag([0.5, 0.5, 5, 1.0])
    turned[:3, :3] = (
        np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]) @ turned[:3, :3]
    )
    check_right_angles(Image(np.zeros((2, 2, 2)), turned))
    sheared = np.diag([0.5, 0.5, 5, 1.0])
    sheared[1, 2] = 5 * np.tan(np.radians(15))
    with pytest.raises(DataError, match=r"gantry tilt.*15\.0 degrees"):
        check_right_angles(Image(np.zeros((2, 2, 2)), sheared))
