"""A constant field against a translation: both explanations must put every point of the head at the same place."""

import numpy as np
import torch

from scan2map.preprocess.dwi.constant_field import without_constant
from scan2map.preprocess.dwi.epi_model import Acquisition
from scan2map.preprocess.dwi.rigid import rigid_matrix

SHAPE = (16, 18, 14)
AFFINE = np.diag([-2.0, 2.5, 3.0, 1.0])
AFFINE[:3, 3] = (10, -20, 5)
DIRECTIONS, TIMES_S = ("j-", "j", "i"), (0.05, 0.04, 0.03)


def field_at(points):
    """A smooth field (voxels at the longest readout time) at voxel coordinates (3, ...)."""
    x, y, z = points
    return 1.5 * np.sin(x / 9) + np.cos(y / 8) * np.sin(z / 10) + 2


def arrival(points, field, matrix, index):
    """Where points of the head (3, n) are found in an image: moved rigidly, then displaced by the field."""
    index_matrix = np.linalg.inv(AFFINE) @ matrix @ AFFINE
    places = index_matrix[:3, :3] @ points + index_matrix[:3, 3:]
    sign = -1 if DIRECTIONS[index].endswith("-") else 1
    places["ijk".index(DIRECTIONS[index][0])] += sign * TIMES_S[index] / 0.05 * field
    return places


def test_both_explanations_put_every_point_at_the_same_place():
    images = torch.zeros(3, *SHAPE, dtype=torch.float64)
    acquisition = Acquisition(images, AFFINE, DIRECTIONS, TIMES_S)
    centre = np.array([1.0, 2.0, 3.0])
    motion = np.stack(
        [np.eye(4), rigid_matrix([1, 2, 0, 0.1, 0, 0.05], centre), rigid_matrix([0, 1, 3, 0, 0.1, 0], centre)]
    )
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij")).astype(float)
    constant = 2.0
    field, moved = without_constant(torch.as_tensor(field_at(grid)), motion, acquisition, constant)
    old = grid[:, 4:-4, 4:-4, 4:-4].reshape(3, -1)
    new = old + np.array([[0.0], [-constant], [0.0]])  # the reference is j- with the longest readout time
    at_new = field.numpy()[tuple(new.astype(int))]
    assert np.abs(at_new - (field_at(old) - constant)).max() < 1e-3
    for index in range(3):
        before = arrival(old, field_at(old), motion[index], index)
        after = arrival(new, at_new, moved[index], index)
        assert np.abs(before - after).max() < 1e-3
