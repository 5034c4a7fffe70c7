import numpy as np
import pytest
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from scan2map.images import Image
from scan2map.preprocess.dwi.tensor_space import exp_tensor, isotropic_grid, log_tensor, resample_tensor, rotate_tensor
from scan2map.preprocess.registration import Transform

STICK = np.array([[1.7e-3, 0, 0, 3e-4, 0, 3e-4]])  # along x


def test_logarithm_and_exponential_are_inverse():
    roots = np.random.default_rng(0).normal(size=(20, 3, 3)) * 0.03
    matrices = roots @ roots.transpose(0, 2, 1) + 1e-4 * np.eye(3)
    tensors = matrices[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)]
    np.testing.assert_allclose(exp_tensor(log_tensor(tensors)), tensors, rtol=1e-6, atol=1e-12)


def test_negative_eigenvalues_become_small_positive_ones():
    cured = exp_tensor(log_tensor(np.array([[1e-3, 0, 0, -2e-4, 0, 5e-4]])))
    np.testing.assert_allclose(cured, [[1e-3, 0, 0, 1e-6, 0, 5e-4]], atol=1e-12)


def test_the_mean_of_crossing_tensors_does_not_swell():
    other = rotate_tensor(STICK, Rotation.from_euler("z", 90, degrees=True).as_matrix())
    mean = exp_tensor((log_tensor(STICK) + log_tensor(other)) / 2)
    # Log-Euclidean: the determinant of the mean is the geometric mean of the determinants.
    assert np.prod(mean[0, [0, 3, 5]]) == pytest.approx(1.7e-3 * 3e-4 * 3e-4, rel=1e-9)


def test_a_quarter_turn_swaps_axes():
    turned = rotate_tensor(STICK, Rotation.from_euler("z", 90, degrees=True).as_matrix())
    np.testing.assert_allclose(turned, [[3e-4, 0, 0, 1.7e-3, 0, 3e-4]], atol=1e-12)


def test_a_grid_keeps_the_field_of_view():
    image = Image(np.zeros((10, 20, 6)), from_matvec(np.diag([-2.0, 1.0, 3.0]), [5, 6, 7]))
    grid = isotropic_grid(image, 1.5)
    assert grid.data.shape == (14, 14, 12)
    np.testing.assert_allclose(grid.voxel_size_mm, 1.5)
    outer = (image.affine @ [-0.5, -0.5, -0.5, 1])[:3]
    np.testing.assert_allclose((grid.affine @ [-0.5, -0.5, -0.5, 1])[:3], outer)


def test_tensors_turn_with_the_head():
    shape, affine = (9, 9, 9), from_matvec(np.eye(3) * 2, [-8, -8, -8])
    tensor = Image(np.broadcast_to(STICK, (*shape, 6)).astype(np.float32), affine)
    mask = Image(np.ones(shape, np.float32), affine)
    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    # The transform maps the new world to the old: a head turned by R in the new world.
    transform = Transform(from_matvec(turn.T, [0, 0, 0]))
    maps, known = resample_tensor(tensor, mask, Image(np.zeros(shape), affine), transform)
    assert known[4, 4, 4]
    np.testing.assert_allclose(np.abs(maps.direction[known] @ (turn @ [1, 0, 0])), 1, atol=1e-5)
    np.testing.assert_allclose(maps.fa[known], maps.fa[4, 4, 4], atol=1e-4)
    np.testing.assert_allclose(maps.md[known], 2.3e-3 / 3, rtol=1e-4)
    assert not maps.tensor[~known].any()
