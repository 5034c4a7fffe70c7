import numpy as np
import pytest

from scan2map.preprocess.dwi.gradient_check import axis_changes, check_gradients

SHAPE = (24, 24, 12)


def ring():
    """Fibres that run in circles about the third axis and climb: every axis order and sign is told apart."""
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    radius = np.hypot(x, y)
    direction = np.stack([-y, x, 0.6 * radius + 0 * z], axis=-1)
    return direction / (np.linalg.norm(direction, axis=-1, keepdims=True) + 1e-9), (radius > 4) & (radius < 10)


def judge(direction, inside, affine):
    return check_gradients(direction, np.where(inside, 0.6, 0.0), np.full(SHAPE, 7e-4), affine)


def test_axis_changes_are_all_different_and_start_with_none():
    changes = axis_changes()
    np.testing.assert_array_equal(changes[0], np.eye(3))
    assert len({tuple((np.kron(change, change)).ravel()) for change in changes}) == 24


@pytest.mark.parametrize("first_voxel_axis", [-1.0, 1.0])
def test_right_directions_pass(first_voxel_axis):
    direction, inside = ring()
    affine = np.diag([first_voxel_axis, 1, 1, 1])
    assert judge(direction * [first_voxel_axis, 1, 1], inside, affine).passed


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        # A helix mirrored along its other radial axis is the helix of the other handedness: as coherent.
        (np.diag([-1, 1, 1]), {"-x+y+z", "+x-y+z"}),
        (np.eye(3)[[0, 2, 1]], {"+x+z+y"}),
    ],
)
def test_wrong_axes_are_found_and_named(wrong, names):
    direction, inside = ring()
    check = judge(direction @ np.asarray(wrong).T, inside, np.eye(4))
    assert not check.passed
    assert check.best_order in names


def test_no_white_matter_is_no_complaint():
    direction, inside = ring()
    assert judge(direction, np.zeros_like(inside), np.eye(4)).passed
