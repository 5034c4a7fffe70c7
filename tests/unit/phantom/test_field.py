"""The susceptibility field against the closed form of a sphere, and the shim."""

import numpy as np
import pytest

from scan2map.phantom.anatomy import build_head, subject_grid
from scan2map.phantom.deformation import draw_warp
from scan2map.phantom.field import LATTICE_MM, build_field, dipole_field, second_order_harmonics, shim
from scan2map.phantom.grid import grid_over

SETTINGS = {
    "mean_scale": 0.92, "scale_sd": 0.0, "amplitude_mm": 2.0, "smoothness_mm": 20.0,
    "fine_amplitude_mm": 0.0, "fine_smoothness_mm": 8.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def warp():
    return draw_warp(subject_grid(4.0), SETTINGS, np.random.default_rng(0))


@pytest.fixture(scope="module")
def brain_and_field(warp):
    grid = subject_grid(LATTICE_MM)
    fractions = build_head(grid, warp).fractions
    return grid, fractions["gm"] + fractions["wm"], build_field(grid, warp, 1.0, 150.0)


def sphere(count=64, radius=8.0, oversampling=4):
    axis = (np.arange(count * oversampling) + 0.5) / oversampling - count / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    inside = (x**2 + y**2 + z**2 < radius**2).astype(np.float32)
    return inside.reshape(count, oversampling, count, oversampling, count, oversampling).mean((1, 3, 5))


def test_the_field_of_a_sphere_is_the_dipole_of_the_textbook():
    # Outside: dχ/3 (a/r)³ (3 cos²θ - 1); inside: 0 with the Lorentz sphere taken out (Schenck 1996, Med Phys 23:815).
    radius = 8.0
    field = dipole_field(sphere(radius=radius))
    axis = np.arange(64) + 0.5 - 32
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    expected = (radius / r) ** 3 * (3 * (z / r) ** 2 - 1) / 3
    near = (r > radius + 2) & (r < 26)
    np.testing.assert_allclose(field[near], expected[near], atol=0.01)
    assert np.abs(field[r < radius - 2]).max() < 0.03
    assert expected[near].max() > 0.25


def test_air_raises_the_field_above_and_below_and_lowers_it_beside():
    field = dipole_field(sphere(radius=6.0))
    assert field[32, 32, 44] > 0 > field[44, 32, 32]


def test_the_field_is_harmonic_where_there_is_no_source():
    field = dipole_field(sphere(radius=6.0)).astype(float)
    laplacian = sum(np.gradient(np.gradient(field, axis=a), axis=a) for a in range(3))
    second = np.abs(np.gradient(np.gradient(field, axis=2), axis=2))
    away = (slice(46, 58),) * 3
    assert np.abs(laplacian[away]).max() < 0.1 * second[away].max()


def test_the_harmonics_obey_laplaces_equation():
    grid = grid_over((-40, -40, -40), (40, 40, 40), 8.0)
    terms = second_order_harmonics(grid.points().reshape(-1, 3).astype(float)).reshape(*grid.shape, 9)
    for n in range(9):
        second = [np.diff(terms[..., n], n=2, axis=a) for a in range(3)]
        total = second[0][:, 1:-1, 1:-1] + second[1][1:-1, :, 1:-1] + second[2][1:-1, 1:-1, :]
        np.testing.assert_allclose(total, 0, atol=1e-10)


def test_the_shim_removes_all_of_second_order_and_leaves_the_third():
    grid = grid_over((-40, -40, -40), (40, 40, 40), 8.0)
    points = grid.points().reshape(-1, 3).astype(float)
    low = (second_order_harmonics(points) @ np.arange(1, 10)).reshape(grid.shape)
    weight = np.ones(grid.shape)
    np.testing.assert_allclose(shim(low, grid, weight), 0, atol=1e-8)
    third = (points[:, 0] * points[:, 1] * points[:, 2] / 1e3).reshape(grid.shape)  # odd: orthogonal to the others
    np.testing.assert_allclose(shim(low + third, grid, weight), third, atol=1e-8)


def test_the_largest_field_in_the_brain_is_the_settings(brain_and_field):
    _, brain, field = brain_and_field
    assert np.abs(field[brain > 0.5]).max() == pytest.approx(150, rel=1e-4)
    assert np.abs(field).max() <= 150.001


def test_the_field_is_strongest_above_the_sinuses_and_beside_the_ear_canals(brain_and_field):
    grid, brain, field = brain_and_field
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    strong = (np.abs(field) > 75) & (brain > 0.5)
    frontal_base = (np.abs(x) < 30) & (y > 10) & (z < 5)
    temporal_base = (np.abs(x) > 30) & (z < -5)
    assert strong.any()
    assert (strong & (frontal_base | temporal_base)).sum() > 0.9 * strong.sum()
    assert np.percentile(np.abs(field[brain > 0.5]), 50) < 20


def test_the_field_is_the_same_at_every_voxel_size(warp):
    fine, coarse = (build_field(subject_grid(size), warp, 1.0, 150.0) for size in (4.0, 8.0))
    averaged = fine[:50, :60, :52].reshape(25, 2, 30, 2, 26, 2).mean((1, 3, 5))
    np.testing.assert_allclose(averaged, coarse[:25, :30, :26], atol=0.05)


def test_zero_amplitude_is_a_homogeneous_field(warp):
    assert not build_field(subject_grid(8.0), warp, 1.0, 0.0).any()
