"""Diffeomorphisms against closed forms, and rigid poses."""

import numpy as np
import pytest
from scipy.linalg import expm

from scan2map.errors import SettingError
from scan2map.phantom.anatomy import subject_grid
from scan2map.phantom.deformation import HEAD_CENTRE_MM, draw_warp, exponentiate, jacobian_of, rigid_matrix
from scan2map.phantom.grid import grid_over, sample, smooth_noise

SETTINGS = {
    "mean_scale": 0.92, "scale_sd": 0.03, "amplitude_mm": 3.0, "smoothness_mm": 20.0,
    "fine_amplitude_mm": 1.0, "fine_smoothness_mm": 8.0,
}  # fmt: skip
STILL = SETTINGS | {"mean_scale": 1.0, "scale_sd": 0.0, "amplitude_mm": 0.0, "fine_amplitude_mm": 0.0}
LATTICE = subject_grid(4.0)


def draw(settings=SETTINGS, seed=0):
    return draw_warp(LATTICE, settings, np.random.default_rng(seed))


def test_the_exponential_of_a_linear_velocity_is_the_matrix_exponential():
    grid = grid_over((-60, -60, -60), (60, 60, 60), 4.0)
    rate = np.array([[0.05, 0.08, 0.0], [-0.08, -0.03, 0.02], [0.0, 0.01, 0.04]])
    points = grid.points().astype(float)
    displacement = exponentiate((points @ rate.T).astype(np.float32), 4.0, squarings=8)
    expected = points @ expm(rate).T - points
    middle = (slice(8, -8),) * 3
    np.testing.assert_allclose(displacement[middle], expected[middle], atol=0.02)


def test_the_exponential_of_the_opposite_velocity_undoes_it():
    grid = grid_over((-60, -60, -60), (60, 60, 60), 4.0)
    rng = np.random.default_rng(3)
    velocity = 3 * np.stack([smooth_noise(grid, 16.0, rng) for _ in range(3)], axis=-1)
    forward, backward = exponentiate(velocity, 4.0), exponentiate(-velocity, 4.0)
    there = grid.points() + forward
    back = there + np.stack([sample(backward[..., c], grid.affine, there) for c in range(3)], axis=-1)
    middle = (slice(6, -6),) * 3
    assert np.abs(back - grid.points())[middle].max() < 0.25
    assert np.abs(forward[middle]).max() > 3


@pytest.mark.parametrize("seed", range(5))
def test_space_never_folds(seed):
    assert np.linalg.det(draw(seed=seed).jacobian).min() > 0.2


def test_a_deformation_that_folds_is_refused():
    with pytest.raises(SettingError, match=r"folds space.*amplitude_mm"):
        draw(SETTINGS | {"fine_amplitude_mm": 25.0, "fine_smoothness_mm": 6.0})


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    grid = grid_over((-20, -20, -20), (20, 20, 20), 4.0)
    matrix = np.array([[1.1, 0.2, 0], [0, 0.9, 0.1], [0.05, 0, 1.0]])
    displacement = grid.points() @ (matrix - np.eye(3)).T
    np.testing.assert_allclose(jacobian_of(displacement, 4.0), np.broadcast_to(matrix, (10, 10, 10, 3, 3)), atol=1e-5)


def test_without_amplitude_the_subject_is_the_template():
    warp = draw(STILL)
    np.testing.assert_allclose(warp.displacement_mm, 0, atol=1e-6)


def test_the_head_scales_about_its_centre():
    warp = draw(STILL | {"mean_scale": 0.9})
    centre, right = np.array(HEAD_CENTRE_MM), np.array([30.0, 0, 0])
    np.testing.assert_allclose(warp.subject_point(centre + right), centre + 0.9 * right, atol=0.1)


def test_the_subject_point_maps_back_to_the_template_point():
    warp = draw(seed=4)
    target = np.array([30.0, -20.0, 25.0])
    point = warp.subject_point(target)
    shift = [sample(warp.displacement_mm[..., c], LATTICE.affine, point[None].astype(np.float32))[0] for c in range(3)]
    np.testing.assert_allclose(point + shift, target, atol=1e-3)


def test_a_rigid_pose_keeps_lengths_and_turns_about_the_head():
    shift = np.array([1.0, 2, 3])
    matrix = rigid_matrix(shift, (0, 0, 90))
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
    centre = np.array(HEAD_CENTRE_MM)
    np.testing.assert_allclose((matrix @ np.r_[centre, 1])[:3], centre + shift)
    np.testing.assert_allclose(matrix[:3, :3] @ (1, 0, 0), (0, 1, 0), atol=1e-12)
