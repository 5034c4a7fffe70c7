"""The spatially regularised fit: its neighbours, its objective, and what it gains over voxel-wise least squares."""

import numpy as np
import pytest
import torch

from scan2map.errors import SettingError
from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_design import join_designs, label_design
from scan2map.preprocess.asl.fit import FitOptions, as_problem, fit_kinetic
from scan2map.preprocess.asl.fit_spatial import Smoothness, fit_kinetic_regularised, neighbours, objective

DELAYS = np.arange(0.5, 3.01, 0.5)
JOINT = join_designs(
    label_design("PCASL", DELAYS, 1.8, efficiency=0.85),
    label_design("VSASL", DELAYS, efficiency=0.56),
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def head():
    """Grey matter around white matter with a small focus of high perfusion: mask, CBF, ATT, noisy signals, σ."""
    x, y, z = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (16, 16, 8)], indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    mask, inner = radius < 8, radius < 5
    focus = np.sqrt((x - 5.5) ** 2 + y**2 + z**2) < 1.5
    cbf = np.where(focus, 100.0, np.where(inner, 20.0, 60.0))
    att = np.where(inner, 1.7, 1.2)
    signal = kinetics.difference_signals(JOINT, cbf[mask], att[mask])
    sigma = signal[:, ~inner[mask]].mean() / 2
    noisy = signal + np.random.default_rng(0).normal(0, sigma, signal.shape)
    return mask, cbf[mask], att[mask], noisy.T, sigma, focus[mask]


def rms(found, true):
    return float((found - torch.tensor(true)).square().mean().sqrt())


def test_neighbours_of_a_cross():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = mask[0, 1, 1] = mask[1, 1, 2] = True
    found = neighbours(mask, (2.0, 2.0, 4.0))
    # Voxels in the order of nonzero(): (0,1,1), (1,1,1), (1,1,2).
    weight = {(0, 1): 1.0, (1, 0): 1.0, (1, 2): 0.5, (2, 1): 0.5}
    listed = {
        (voxel, int(found.index[k, voxel])): float(found.weight[k, voxel])
        for voxel in range(3)
        for k in range(6)
        if found.weight[k, voxel] > 0
    }
    assert listed == weight
    assert found.mean(torch.tensor([0.0, 3.0, 6.0])).tolist() == [1.5, 3.0, 4.5]


def test_penalty_of_a_step_by_hand():
    """Two voxels, 20 ml/100g/min apart with a scale of 10: λ √(2² + ε²) plus λ ε of the equal transit times."""
    options = FitOptions()
    problem, _ = as_problem(np.zeros((2, 12)), JOINT, options)
    around = neighbours(np.ones((2, 1, 1), bool), (1.0, 1.0, 1.0))
    parameters = torch.tensor([[40.0, 60.0], [1.0, 1.0]], dtype=torch.float64)
    _, penalty = objective(problem, parameters, around, Smoothness(strength=3.0, cbf_scale=10.0))
    assert float(penalty) == pytest.approx(3 * (np.sqrt(4 + 0.05**2) + 0.05), rel=1e-6)


def test_no_strength_is_the_voxelwise_fit(head):
    mask, _, _, data, _, _ = head
    alone = fit_kinetic(data, JOINT)
    same = fit_kinetic_regularised(data, JOINT, mask, smoothness=Smoothness(strength=0))
    assert torch.equal(alone.cbf, same.cbf)


def test_objective_falls_below_that_of_the_voxelwise_fit_and_of_the_truth(head):
    mask, cbf, att, data, sigma, _ = head
    smoothness = Smoothness()
    problem, _ = as_problem(data, JOINT, FitOptions())
    problem = problem.scaled(1 / sigma)
    around = neighbours(mask, (1.0, 1.0, 1.0))
    alone, found = fit_kinetic(data, JOINT), fit_kinetic_regularised(data, JOINT, mask)
    reached, voxelwise, true = (
        float(sum(objective(problem, torch.stack([torch.as_tensor(one) for one in pair]), around, smoothness)))
        for pair in ((found.cbf, found.att_s), (alone.cbf, alone.att_s), (cbf, att))
    )
    assert reached < voxelwise
    assert reached < true


def test_errors_fall_and_a_focus_stays(head):
    mask, cbf, att, data, _, focus = head
    alone, found = fit_kinetic(data, JOINT), fit_kinetic_regularised(data, JOINT, mask)
    assert rms(found.cbf, cbf) < 0.7 * rms(alone.cbf, cbf)
    assert rms(found.att_s, att) < 0.6 * rms(alone.att_s, att)
    contrast = float(found.cbf[torch.tensor(focus)].mean() - found.cbf[torch.tensor((cbf == 60) & ~focus)].mean())
    assert contrast > 0.6 * 40


def test_noise_free_images_are_barely_changed(head):
    mask, cbf, att, *_ = head
    signal = kinetics.difference_signals(JOINT, cbf, att).T
    found = fit_kinetic_regularised(signal, JOINT, mask, FitOptions(noise_sd=1e-6))
    assert rms(found.cbf, cbf) < 0.05


def test_mask_and_signals_must_match(head):
    mask, _, _, data, _, _ = head
    with pytest.raises(SettingError, match="do not match"):
        fit_kinetic_regularised(data[1:], JOINT, mask)
