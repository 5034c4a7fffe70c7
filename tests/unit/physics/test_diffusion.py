"""Diffusion models against dipy's own simulations and against calculus."""

import numpy as np
import pytest
import torch
from dipy.core.gradients import gradient_table
from dipy.reconst import dti, msdki
from dipy.sims.voxel import all_tensor_evecs, multi_tensor, single_tensor, sticks_and_ball

from scan2map.physics import diffusion as diff

RNG = np.random.default_rng(3)
B_VECTORS = RNG.normal(size=(20, 3))
B_VECTORS /= np.linalg.norm(B_VECTORS, axis=1, keepdims=True)
B_VALUES = np.repeat([0.0, 1000.0, 2000.0, 3000.0], 5)
TABLE = gradient_table(B_VALUES, bvecs=np.where(B_VALUES[:, None] > 0, B_VECTORS, 0))
EIGENVALUES = np.array([1.7e-3, 0.4e-3, 0.3e-3])


def random_tensors(count):
    factors = RNG.normal(size=(count, 3, 3)) * 0.02
    return diff.tensor_elements(factors @ factors.transpose(0, 2, 1) + 1e-5 * np.eye(3))


def test_tensor_signal_is_that_of_dipy():
    evecs = all_tensor_evecs(np.array([0.48, 0.6, 0.64]))
    elements = diff.tensor_elements(evecs @ np.diag(EIGENVALUES) @ evecs.T)
    expected = single_tensor(TABLE, S0=150.0, evals=EIGENVALUES, evecs=evecs, snr=None)
    assert diff.tensor_signal(np.array(150.0), elements, B_VALUES, B_VECTORS) == pytest.approx(expected, rel=1e-6)


def test_gaussian_mixture_is_that_of_dipy():
    angles = [(20, 30), (75, 110)]
    evals = np.array([EIGENVALUES, [0.9e-3, 0.8e-3, 0.7e-3]])
    expected, sticks = multi_tensor(TABLE, evals, S0=1.0, angles=angles, fractions=[60, 40], snr=None)
    tensors = []
    for values, axis in zip(evals, sticks, strict=True):
        evecs = all_tensor_evecs(axis)
        tensors.append(diff.tensor_elements(evecs @ np.diag(values) @ evecs.T))
    signal = diff.gaussian_mixture_signal([np.array(0.6), np.array(0.4)], tensors, B_VALUES, B_VECTORS)
    assert signal == pytest.approx(expected, rel=1e-5)


def test_ball_and_stick_is_that_of_dipy():
    expected, axes = sticks_and_ball(TABLE, d=1.5e-3, S0=80.0, angles=[(40, 60)], fractions=[35], snr=None)
    ones = np.ones(())
    signal = diff.ball_stick_signal(80 * ones, 0.35 * ones, 1.5e-3 * ones, 1.5e-3 * ones, axes[0], B_VALUES, B_VECTORS)
    assert signal == pytest.approx(expected, rel=1e-6)


def test_mean_signal_kurtosis_is_that_of_dipy():
    shells = np.array([0.0, 500, 1000, 1500])
    expected = msdki.msdki_prediction(np.array([[1.1e-3, 0.9]]), gradient_table(shells, bvecs=np.eye(3)[[0, 0, 1, 2]]))
    value = diff.mean_signal_kurtosis(np.ones(1), np.array([1.1e-3]), np.array([0.9]), shells)
    assert value == pytest.approx(expected, rel=1e-6)


def test_mean_signal_cumulants_are_the_slope_and_curvature_of_the_mean_signal():
    from dipy.data import get_sphere

    fractions, tensors = [np.array(3.0), np.array(1.0)], list(random_tensors(2))
    directions = get_sphere(name="repulsion724").vertices
    steps = np.array([1.0, 2.0])
    logs = [
        np.log(diff.gaussian_mixture_signal(fractions, tensors, np.full(724, b), directions).mean() / 4) for b in steps
    ]
    curvature = logs[1] - 2 * logs[0]  # b² D² K/3 at b = 1
    slope = (4 * logs[0] - logs[1]) / -2
    diffusivity, kurtosis = diff.mean_signal_cumulants(fractions, tensors)
    assert diffusivity == pytest.approx(slope, rel=1e-3)
    assert kurtosis == pytest.approx(3 * curvature / slope**2, rel=1e-2)


def test_free_water_has_the_limits_of_tissue_and_of_water():
    arguments = (np.ones(2), np.full(2, 1e-3), np.full(2, 0.8))
    shells = np.array([0.0, 1000.0])
    none, all_water = diff.free_water_kurtosis(*arguments, np.array([0.0, 1.0]), shells)
    assert none[1] == pytest.approx(np.exp(-1 + 0.8 / 6))
    assert all_water[1] == pytest.approx(np.exp(-3))


def test_scalars_are_those_of_dipy():
    tensors = random_tensors(40)
    values = np.linalg.eigvalsh(diff.tensor_matrix(tensors))[:, ::-1]
    scalars = diff.tensor_scalars(tensors)
    assert scalars.fa == pytest.approx(dti.fractional_anisotropy(values))
    assert scalars.md == pytest.approx(dti.mean_diffusivity(values))
    assert scalars.ad == pytest.approx(dti.axial_diffusivity(values))
    assert scalars.rd == pytest.approx(dti.radial_diffusivity(values))


def test_scalars_of_nothing_are_zero():
    assert all(np.all(value == 0) for value in diff.tensor_scalars(np.zeros((2, 6))))


def test_axially_symmetric_tensor_has_its_eigenvalues_and_axis():
    axis = np.array([0.36, 0.48, 0.8])
    tensor = diff.axially_symmetric_tensor(axis, np.array(1.7e-3), np.array(0.3e-3))
    assert np.linalg.eigvalsh(diff.tensor_matrix(tensor)) == pytest.approx([0.3e-3, 0.3e-3, 1.7e-3])
    assert abs(diff.principal_direction(tensor) @ axis) == pytest.approx(1)


def test_elements_and_matrix_are_inverse():
    tensors = random_tensors(7)
    assert diff.tensor_elements(diff.tensor_matrix(tensors)) == pytest.approx(tensors)


def test_turning_the_tensor_and_the_gradients_leaves_the_signal():
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    tensor = random_tensors(1)[0]
    turned = diff.tensor_signal(np.ones(()), diff.rotate_tensor(tensor, rotation), B_VALUES, B_VECTORS @ rotation.T)
    assert turned == pytest.approx(diff.tensor_signal(np.ones(()), tensor, B_VALUES, B_VECTORS))


def test_log_linear_design_recovers_the_tensor():
    tensor = random_tensors(1)[0]
    signal = diff.tensor_signal(np.array(900.0), tensor, B_VALUES, B_VECTORS)
    solution = np.linalg.lstsq(diff.log_linear_design(B_VALUES, B_VECTORS), np.log(signal), rcond=None)[0]
    assert np.exp(solution[0]) == pytest.approx(900)
    assert solution[1:] == pytest.approx(tensor, rel=1e-6)


def test_cumulant_is_the_slope_of_the_log_signal_at_b_zero():
    fractions, tensors = [np.array(3.0), np.array(1.0)], list(random_tensors(2))
    step = np.full(len(B_VECTORS), 1e-3)
    signal = diff.gaussian_mixture_signal(fractions, tensors, step, B_VECTORS)
    slope = -np.log(signal / 4) / 1e-3
    cumulant = diff.cumulant_tensor(fractions, tensors)
    assert diff.quadratic_form(B_VECTORS) @ cumulant == pytest.approx(slope, rel=1e-4)


def test_torch_and_numpy_agree():
    tensors = random_tensors(5)
    expected = diff.tensor_signal(np.ones(5), tensors, B_VALUES, B_VECTORS)
    arguments = [torch.tensor(values) for values in (np.ones(5), tensors, B_VALUES, B_VECTORS)]
    assert diff.tensor_signal(*arguments).numpy() == pytest.approx(expected)
    scalars = diff.tensor_scalars(torch.tensor(tensors))
    assert scalars.fa.numpy() == pytest.approx(diff.tensor_scalars(tensors).fa)
