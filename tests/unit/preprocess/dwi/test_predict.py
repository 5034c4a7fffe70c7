import numpy as np
import torch
from dwi_head import directions

from scan2map.preprocess.dwi.gradients import GradientTable
from scan2map.preprocess.dwi.predict import (
    Hyperparameters,
    choose_hyperparameters,
    covariance,
    leave_one_out,
    prediction_matrix,
    spherical_covariance,
)

PARAMETERS = Hyperparameters(1.2, 0.1, 0.6, 10.0)


def table():
    b_values = np.array([0, 0, 0, *[1000] * 15, *[2000] * 20], dtype=float)
    return GradientTable(b_values, np.vstack([np.zeros((3, 3)), directions(15), directions(20, seed=4)]))


def tensor_signals(gradients, voxels=200, noise=0.0):
    rng = np.random.default_rng(0)
    axis = rng.normal(size=(voxels, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    exponent = gradients.b_values[:, None] * (4e-4 + 8e-4 * (gradients.b_vectors @ axis.T) ** 2)
    exact = 1000 * np.exp(-exponent)
    return torch.as_tensor(exact + rng.normal(0, noise, exact.shape) if noise else exact)


def test_spherical_covariance_falls_from_one_to_zero():
    np.testing.assert_allclose(spherical_covariance(np.array([0, 0.5, 1.0, 2.0]), 1.0), [1, 0.3125, 0, 0])


def test_covariance_is_symmetric_and_positive():
    matrix = covariance(table(), PARAMETERS)
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_directions_and_their_opposites_are_alike():
    gradients = table()
    flipped = GradientTable(gradients.b_values, -gradients.b_vectors)
    np.testing.assert_allclose(covariance(gradients, PARAMETERS), covariance(flipped, PARAMETERS))


def test_leave_one_out_equals_leaving_one_out():
    matrix = covariance(table(), PARAMETERS)
    shortcut = leave_one_out(matrix)
    for left in (0, 7, 30):
        others = np.delete(np.arange(len(matrix)), left)
        weights = np.linalg.solve(matrix[np.ix_(others, others)], matrix[others, left])
        np.testing.assert_allclose(shortcut[left, others], weights, atol=1e-8)
        assert abs(shortcut[left, left]) < 1e-12


def test_constant_shells_are_predicted_exactly():
    gradients = table()
    signal = np.where(gradients.b_values == 0, 900.0, np.where(gradients.b_values == 1000, 400.0, 150.0))
    np.testing.assert_allclose(prediction_matrix(gradients, PARAMETERS) @ signal, signal, rtol=1e-3)


def test_tensor_signals_are_predicted_far_better_than_by_their_mean():
    gradients = table()
    exact, noisy = tensor_signals(gradients), tensor_signals(gradients, noise=20.0)
    chosen = choose_hyperparameters(noisy, gradients)
    predicted = torch.as_tensor(prediction_matrix(gradients, chosen)) @ noisy
    for shell in (1000, 2000):
        members = gradients.b_values == shell
        spread = (exact[members] - exact[members].mean(0)).square().mean().sqrt()
        assert (predicted - exact)[members].square().mean().sqrt() < 0.4 * spread


def test_more_noise_asks_for_more_smoothing():
    gradients = table()
    quiet = choose_hyperparameters(tensor_signals(gradients, noise=1.0), gradients)
    loud = choose_hyperparameters(tensor_signals(gradients, noise=150.0), gradients)
    assert loud.noise_ratio > quiet.noise_ratio


def test_a_volume_alone_in_its_shell_keeps_its_signal():
    gradients = GradientTable(np.array([0.0, 1000, 1000, 1000, 3000]), np.vstack([np.zeros(3), directions(4)]))
    matrix = prediction_matrix(gradients, PARAMETERS)
    for alone in (0, 4):
        np.testing.assert_array_equal(matrix[alone], np.eye(5)[alone])
