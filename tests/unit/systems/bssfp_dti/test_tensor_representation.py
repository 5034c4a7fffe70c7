"""Logarithms, scaling, turns and flips of tensors against SciPy and against turned and mirrored heads."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from scan2map.physics.diffusion import tensor_elements, tensor_matrix
from scan2map.systems.bssfp_dti import representation as rep

RANGES = {"diagonal": [-1.3, 1.1], "off_diagonal": [-0.7, 0.7]}


@pytest.fixture
def tensors():
    factor = np.random.default_rng(2).normal(0, 0.6, (40, 3, 3)) + np.eye(3)
    return torch.from_numpy(tensor_elements(factor @ np.swapaxes(factor, 1, 2) + 0.1 * np.eye(3)))


def test_logarithm_and_exponential_are_those_of_matrices(tensors):
    wanted = np.stack([tensor_elements(logm(one)) for one in tensor_matrix(tensors.numpy())])
    assert rep.log_tensor(tensors).numpy() == pytest.approx(wanted, abs=1e-8)
    assert rep.exp_tensor(torch.from_numpy(wanted)).numpy() == pytest.approx(tensors.numpy(), abs=1e-8)
    assert expm(tensor_matrix(wanted[0])) == pytest.approx(tensor_matrix(tensors[0].numpy()))


@pytest.mark.parametrize("kind", ["log", "raw"])
def test_what_is_encoded_comes_back(tensors, kind):
    image = tensors.float().T.reshape(6, 4, 5, 2)
    found = rep.Representation(kind, RANGES)
    assert found.decode(found.encode(image)).numpy() == pytest.approx(image.numpy(), abs=1e-4)


@hypothesis_settings(max_examples=25, deadline=None)
@given(strategies.lists(strategies.floats(-3, 3), min_size=6, max_size=6))
def test_no_network_value_gives_a_non_positive_tensor(values):
    image = torch.tensor(values, dtype=torch.float32).view(6, 1, 1, 1)
    tensor = rep.Representation("log", RANGES).decode(image)[:, 0, 0, 0].double().numpy()
    eigenvalues = np.linalg.eigvalsh(tensor_matrix(tensor))
    assert eigenvalues[0] > -1e-5 * eigenvalues[2]
    assert eigenvalues[2] > 0


def test_measured_tensors_with_negative_eigenvalues_have_a_logarithm():
    elements = torch.tensor([[1.0, 0, 0, 0.5, 0, -0.1]])
    assert rep.exp_tensor(rep.log_tensor(elements))[0, 5].item() == pytest.approx(rep.SMALLEST_EIGENVALUE, rel=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_head_has_the_mirrored_tensors(tensors, axis):
    mirror = np.diag([-1.0 if index == axis else 1.0 for index in range(3)])
    wanted = tensor_elements(mirror @ tensor_matrix(tensors.numpy()) @ mirror)
    flipped = rep.flip_elements(tensors.float().T.reshape(6, 40, 1, 1), axis).reshape(6, 40).T
    assert flipped.numpy() == pytest.approx(wanted, abs=1e-6)


def test_a_left_right_flip_changes_the_sign_of_two_off_diagonals():
    assert rep.flip_elements(torch.ones(6, 1, 1, 1), 0).flatten().tolist() == [1, -1, -1, 1, 1, 1]


def test_turning_tensors_turns_their_directions_and_keeps_their_size(tensors):
    turn = Rotation.from_euler("xyz", [10, -25, 40], degrees=True).as_matrix()
    turned = rep.turn_elements(tensors.T.reshape(6, 40, 1, 1), turn).reshape(6, 40).T.numpy()
    before, after = (np.linalg.eigh(tensor_matrix(one)) for one in (tensors.numpy(), turned))
    assert after[0] == pytest.approx(before[0])
    cosine = np.abs((after[1][:, :, 2] * (before[1][:, :, 2] @ turn.T)).sum(-1))
    assert cosine == pytest.approx(1)


def test_log_and_turn_commute(tensors):
    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    image = tensors.T.reshape(6, 40, 1, 1)
    first = rep.to_matrices(rep.turn_elements(image, turn), "log")
    assert first.numpy() == pytest.approx(rep.turn_elements(rep.to_matrices(image, "log"), turn).numpy(), abs=1e-8)


def test_ranges_come_from_the_tensors_given(tensors):
    found = rep.scaling([tensors.numpy()], logarithmic=False)
    assert found["diagonal"] == pytest.approx([float(tensors[:, [0, 3, 5]].min()), float(tensors[:, [0, 3, 5]].max())])
    assert found["off_diagonal"][0] == -found["off_diagonal"][1]


def test_a_mirrored_or_sheared_grid_is_refused():
    with pytest.raises(ValueError, match="not a rotation"):
        rep.grid_axes(np.diag([-3.0, 3, 3, 1]))
