import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from dwi_head import directions

from scan2map.errors import DataError
from scan2map.preprocess.dwi.gradients import GradientTable, bvec_to_world
from scan2map.preprocess.dwi.tensor import (
    decompose,
    design_matrix,
    fit_tensor,
    fit_wls,
    fractional_anisotropy,
    signal_floor,
    tensor_volumes,
)

B_VALUES = np.array([0, 0, *[1000] * 20, *[2000] * 12], dtype=float)
VECTORS = np.vstack([np.zeros((2, 3)), directions(20), directions(12, seed=1)])


def random_tensors(count, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(count, 3, 3)) * 0.02
    matrices = roots @ roots.transpose(0, 2, 1) + 2e-4 * np.eye(3)
    return matrices[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)]


def signals(tensors, s0=1000.0, noise=0.0):
    exact = s0 * np.exp(design_matrix(B_VALUES, VECTORS)[:, :6] @ tensors.T).T
    rng = np.random.default_rng(3)
    return np.hypot(exact + noise * rng.normal(size=exact.shape), noise * rng.normal(size=exact.shape))


def test_noise_free_tensors_are_recovered():
    tensors = random_tensors(50)
    fitted = fit_wls(signals(tensors), design_matrix(B_VALUES, VECTORS), chunk=7)
    np.testing.assert_allclose(fitted[:, :6], tensors, atol=1e-10)
    np.testing.assert_allclose(np.exp(fitted[:, 6]), 1000, rtol=1e-8)


def test_noisy_fits_equal_those_of_dipy():
    data = signals(random_tensors(300), noise=40.0)
    model = TensorModel(gradient_table(B_VALUES, bvecs=VECTORS), fit_method="WLS", min_signal=1.0, return_S0_hat=True)
    reference = model.fit(data)
    design = design_matrix(B_VALUES, VECTORS)
    fitted = fit_wls(np.maximum(data, 1.0), design)
    eigenvalues, direction = decompose(fitted[:, :6], -1e-6 / design.min())
    np.testing.assert_allclose(eigenvalues, reference.evals, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(fractional_anisotropy(eigenvalues), reference.fa, rtol=1e-6)
    np.testing.assert_allclose(np.exp(fitted[:, 6]), reference.S0_hat, rtol=1e-6)
    alignment = np.abs((direction * reference.evecs[..., 0]).sum(-1))
    assert np.all(alignment[np.ptp(eigenvalues, axis=1) > 1e-6] > 1 - 1e-6)


@pytest.mark.parametrize("first_voxel_axis", [-1, 1])
def test_directions_are_along_world_axes(first_voxel_axis):
    affine = np.diag([first_voxel_axis * 2.0, 2, 2, 1])
    stick = np.array([0.6, 0.8, 0.0])
    world_tensor = 1.4e-3 * np.outer(stick, stick) + 3e-4 * np.eye(3)
    decay = np.exp(-B_VALUES * np.einsum("ti,ij,tj->t", VECTORS, world_tensor, VECTORS))
    gradients = GradientTable(B_VALUES, VECTORS @ bvec_to_world(affine))
    maps = fit_tensor(np.broadcast_to(500 * decay, (2, 2, 2, len(decay))), np.ones((2, 2, 2), bool), gradients, affine)
    np.testing.assert_allclose(np.abs(maps.direction @ stick), 1, atol=1e-5)
    np.testing.assert_allclose(maps.tensor[0, 0, 0], world_tensor[(0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)], atol=1e-8)


def test_scalars_of_a_known_tensor():
    eigenvalues = np.array([[1.7e-3, 3e-4, 3e-4], [1e-3, 1e-3, 1e-3], [1.0, 0, 0], [0, 0, 0]])
    # FA of a cylinder: (l1 - l2) / sqrt(l1^2 + 2 l2^2); sphere 0; stick 1.
    cylinder = 1.4 / np.sqrt(1.7**2 + 2 * 0.3**2)
    np.testing.assert_allclose(fractional_anisotropy(eigenvalues), [cylinder, 0, 1, 0], atol=1e-12)


def test_maps_are_zero_outside_the_mask_and_consistent_inside():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, :2] = True
    data = np.zeros((3, 3, 3, len(B_VALUES)))
    data[mask] = signals(random_tensors(2))
    maps = fit_tensor(data, mask, GradientTable(B_VALUES, VECTORS), np.diag([-2.0, 2, 2, 1]))
    assert not maps.fa[~mask].any()
    assert not maps.tensor[~mask].any()
    np.testing.assert_allclose(maps.md, (maps.ad + 2 * maps.rd) / 3, rtol=1e-5)
    trace = maps.tensor[..., 0] + maps.tensor[..., 3] + maps.tensor[..., 5]
    np.testing.assert_allclose(maps.md[mask], trace[mask] / 3, rtol=1e-5)


def test_high_shells_are_left_out_where_low_ones_suffice():
    gradients = GradientTable(B_VALUES, VECTORS)
    assert tensor_volumes(gradients, 1250).sum() == 22
    only_high = gradients.take(B_VALUES != 1000)
    assert tensor_volumes(only_high, 1250).all()


def test_a_mask_without_signal_is_refused():
    with pytest.raises(DataError, match="no b = 0 signal"):
        signal_floor(np.zeros((5, 3)), GradientTable(np.array([0.0, 1000, 1000]), np.eye(3)))


def test_a_second_reweighting_uses_the_signal_that_the_first_predicts():
    data, design = signals(random_tensors(20), noise=40.0), design_matrix(B_VALUES, VECTORS)
    weights = np.exp(fit_wls(data, design) @ design.T)
    size = np.abs(design).max(0)
    expected = [
        np.linalg.lstsq(row[:, None] * design / size, row * np.log(one), rcond=None)[0] / size
        for row, one in zip(weights, data, strict=True)
    ]
    np.testing.assert_allclose(fit_wls(data, design, reweightings=2), expected, rtol=1e-6, atol=1e-12)
