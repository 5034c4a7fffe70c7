import numpy as np
import pytest
import torch
from dwi_head import AFFINE, SHAPE, simulate

from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix, rigid_parameters
from scan2map.preprocess.dwi.shells import align_means, local_correlation

CENTRE = grid_centre_mm(SHAPE, AFFINE)


def test_a_linear_relation_is_a_perfect_match():
    image = torch.tensor(np.random.default_rng(0).normal(size=(8, 8, 4)))
    inside = torch.zeros(image.shape, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    assert local_correlation(image, 5 - 2 * image, inside) == pytest.approx(1, abs=1e-3)
    other = torch.tensor(np.random.default_rng(1).normal(size=(8, 8, 4)))
    assert local_correlation(image, other, inside) < 0.3


@pytest.mark.parametrize("parameters", [[1.0, 1.0, 1.0, 0, 0, 0], [2.0, -2.5, 1.5, 0.03, -0.02, 0.03]])
def test_motion_between_contrasts_is_found(parameters):
    b_values = [0, *[1500] * 12]
    still = simulate([0], None, np.zeros((1, 6)), field=False, noise=5)
    moved = simulate(b_values, None, np.tile(parameters, (13, 1)), field=False, noise=15)
    found = align_means(still.scan.volumes[0], moved.scan.volumes[1:].mean(0), still.mask, AFFINE)
    error = rigid_parameters(np.linalg.inv(rigid_matrix(parameters, CENTRE)) @ found, CENTRE)
    assert np.abs(error[:3]).max() < 0.4  # a tenth of a voxel
    assert np.rad2deg(np.abs(error[3:]).max()) < 0.4
