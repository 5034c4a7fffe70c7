"""Grids in world space: positions, interpolation that is exact for linear images."""

import numpy as np
import pytest

from scan2map.phantom.grid import grid_over, regrid, sample, smooth_noise

GRID = grid_over((-20, -24, -16), (20, 24, 16), 4.0)


def linear_image(points):
    return (0.3 * points[..., 0] - 0.2 * points[..., 1] + 0.7 * points[..., 2] + 5).astype(np.float32)


def test_the_grid_covers_the_box_with_voxel_centres_inside():
    points = GRID.points()
    assert GRID.shape == (10, 12, 8)
    np.testing.assert_allclose(points[0, 0, 0], (-18, -22, -14))
    np.testing.assert_allclose(points[-1, -1, -1], (18, 22, 14))


@pytest.mark.parametrize("voxel_size_mm", [1.0, 2.5, 4.0])
def test_regridding_keeps_a_linear_image(voxel_size_mm):
    target = grid_over((-12, -12, -8), (12, 12, 8), voxel_size_mm)
    result = regrid(linear_image(GRID.points()), GRID, target)
    np.testing.assert_allclose(result, linear_image(target.points()), atol=1e-4)


def test_regridding_works_channel_by_channel():
    image = GRID.points()
    target = grid_over((-12, -12, -8), (12, 12, 8), 3.0)
    np.testing.assert_allclose(regrid(image, GRID, target), target.points(), atol=1e-4)


def test_sampling_reads_a_linear_image_at_world_points():
    points = np.random.default_rng(0).uniform(-12, 12, (50, 3)).astype(np.float32)
    result = sample(linear_image(GRID.points()), GRID.affine, points)
    np.testing.assert_allclose(result, linear_image(points), atol=1e-4)


def test_smooth_noise_has_unit_spread_and_the_kernels_correlation():
    grid = grid_over((0, 0, 0), (200, 200, 200), 4.0)
    noise = smooth_noise(grid, 12.0, np.random.default_rng(1))
    lag = 4
    correlation = (noise[:-lag] * noise[lag:]).mean()
    # The autocorrelation of Gaussian-filtered white noise is a Gaussian of sigma sqrt(2) times the kernel's.
    expected = np.exp(-((lag * 4.0) ** 2) / (4 * 12.0**2))
    assert abs(noise.mean()) < 1e-5
    assert noise.std() == pytest.approx(1, abs=1e-5)
    assert correlation == pytest.approx(expected, abs=0.06)
