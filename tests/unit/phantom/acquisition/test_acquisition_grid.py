"""Sampling against closed forms and scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from scan2map.phantom.acquisition.grid import HeadSampler, make_grid, subdivide
from scan2map.phantom.deformation import rigid_matrix

SHAPE = (24, 26, 22)
AFFINE = np.array([[2.0, 0, 0, -23], [0, 2, 0, -25], [0, 0, 2, -21], [0, 0, 0, 1]])
PLACE = rigid_matrix([1.5, -2, 0.7], [6, -4, 9], (0, 0, 0))
GRID = make_grid([5, 4, 6], [30, 28, 30], [8, -5, 3], [0.5, -1, 1])


def positions():
    return np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def sampled(volume, grid=GRID, place=PLACE):
    return HeadSampler(AFFINE, SHAPE, grid).read_array(volume, place)


def test_grid_is_centred_with_the_asked_voxels_and_tilt():
    assert GRID.shape == (6, 7, 5)
    assert GRID.voxel_size_mm == pytest.approx([5, 4, 6])
    assert GRID.centre_mm == pytest.approx([0.5, -1, 1])
    assert np.linalg.det(GRID.affine[:3, :3]) == pytest.approx(120)
    tilted = make_grid([1, 1, 1], [3, 3, 3], [30, 0, 0], [0, 0, 0]).affine
    assert tilted[:3, 1] == pytest.approx([0, np.cos(np.pi / 6), 0.5])


def test_cells_fill_their_voxel():
    cells = subdivide(GRID, (2, 1, 3)).affine
    first = [cells @ [i, 0, k, 1] for i in range(2) for k in range(3)]
    assert np.mean(first, 0) == pytest.approx(GRID.affine @ [0, 0, 0, 1])


def test_a_linear_image_is_read_at_the_voxel_centres_of_a_moved_head():
    slope = np.array([0.3, -0.7, 0.2])
    volume = positions() @ slope + 50
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), -1)
    world = index @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    back = np.linalg.inv(PLACE)
    expected = (world @ back[:3, :3].T + back[:3, 3]) @ slope + 50
    assert sampled(volume) == pytest.approx(expected, abs=1e-3)
    assert GRID.world_mm() == pytest.approx(world, abs=1e-4)


def test_a_voxel_is_the_mean_of_its_cells_read_once():
    volume = np.random.default_rng(0).random(SHAPE)
    sampler = HeadSampler(AFFINE, SHAPE, GRID)
    assert sampler.cells_per_voxel == (2, 2, 3)
    cells = subdivide(GRID, (2, 2, 3))
    matrix = np.linalg.inv(AFFINE) @ np.linalg.inv(PLACE) @ cells.affine
    index = np.stack(np.meshgrid(*map(np.arange, cells.shape), indexing="ij")).reshape(3, -1)
    read = ndimage.map_coordinates(volume, matrix[:3, :3] @ index + matrix[:3, 3:], order=1)
    expected = read.reshape(6, 2, 7, 2, 5, 3).mean((1, 3, 5))
    assert sampled(volume) == pytest.approx(expected, abs=1e-4)


def test_the_amount_of_a_compact_structure_is_kept_when_downsampling():
    volume = np.exp(-(positions() ** 2).sum(-1) / (2 * 5.0**2))
    grid = make_grid([7, 7, 7], [70, 70, 70], [10, 0, 0], [0, 0, 0])
    assert sampled(volume, grid).sum() * 343 == pytest.approx(volume.sum() * 8, rel=2e-3)


def test_outside_the_subject_is_nothing():
    far = make_grid([4, 4, 4], [16, 16, 16], [0, 0, 0], [300, 0, 0])
    assert not sampled(np.ones(SHAPE), far).any()


def test_channels_are_read_independently():
    volumes = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(1))
    together = HeadSampler(AFFINE, SHAPE, GRID).read(volumes, PLACE).numpy()
    assert np.stack([sampled(volume.numpy()) for volume in volumes]) == pytest.approx(together)
