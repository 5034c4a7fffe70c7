"""Voxel-wise fits: exact without noise, as precise as the information allows with it, and as SciPy and dipy find."""

import numpy as np
import pytest
import torch

from scan2map.errors import SettingError
from scan2map.phantom.acquisition.gradients import dispersed_directions
from scan2map.systems.dwi_vae.baselines import dipy_msdki, scipy_least_squares
from scan2map.systems.dwi_vae.least_squares import fit_voxels
from scan2map.systems.dwi_vae.likelihood import likelihood
from scan2map.systems.dwi_vae.signal_models import Tissue, signal_model
from scan2map.systems.dwi_vae.voxels import acquisition_of, average_shells, relative_voxels

DIRECTIONS = 30
B_VALUES = np.r_[np.zeros(6), np.repeat([1000.0, 2000.0], DIRECTIONS)]
VECTORS = np.vstack([np.zeros((6, 3)), *[dispersed_directions(DIRECTIONS, turn) for turn in (0.0, 1.0)]])
ACQUISITION = acquisition_of(B_VALUES, VECTORS)
MSDKI, BALL_STICK = signal_model("msdki"), signal_model("ball_stick")


def generator(seed=11):
    return torch.Generator().manual_seed(seed)


def kurtosis_tissue(count):
    draw = torch.rand(count, 2, generator=generator(), dtype=torch.float64)
    values = torch.stack([torch.ones(count), 0.7e-3 + 0.6e-3 * draw[:, 0], 0.5 + 0.7 * draw[:, 1]], -1)
    return Tissue(values.double(), torch.zeros(count, 3, dtype=torch.float64))


def stick_tissue(count):
    draw = torch.rand(count, 3, generator=generator(), dtype=torch.float64)
    low, span = torch.tensor([0.3, 0.7e-3, 1.5e-3]), torch.tensor([0.4, 0.5e-3, 0.4e-3])
    fibre = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator(), dtype=torch.float64), dim=-1)
    return Tissue(torch.cat([torch.ones(count, 1), low + span * draw], -1).double(), fibre)


def measured(model, truth, sigma, repeat=0):
    blank = relative_voxels(torch.ones(len(truth.values), len(B_VALUES)), max(sigma, 1e-3), ACQUISITION)
    signal = model.signal(truth, blank)
    noise = sigma * torch.randn(2, *signal.shape, generator=generator(12 + repeat), dtype=torch.float64)
    return ((signal + noise[0]) ** 2 + noise[1] ** 2).sqrt()


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_exact_without_noise(noise):
    truth = kurtosis_tissue(20)
    given = average_shells(relative_voxels(measured(MSDKI, truth, 0.0), 1e-4, ACQUISITION))
    assert fit_voxels(MSDKI, given, noise).tissue.values.numpy() == pytest.approx(truth.values.numpy(), rel=1e-3)
    truth = stick_tissue(20)
    guess = torch.nn.functional.normalize(truth.direction + 0.1, dim=-1)
    given = relative_voxels(measured(BALL_STICK, truth, 0.0), 1e-3, ACQUISITION, guess)
    found = fit_voxels(BALL_STICK, given, noise).tissue
    assert found.values.numpy() == pytest.approx(truth.values.numpy(), rel=5e-3)
    assert (found.direction * truth.direction).sum(-1).abs().min() > 0.9999


def test_rician_likelihood_takes_the_bias_away():
    """Ten times as many volumes: the curvature of the model in its parameters would bias a noisier fit."""
    truth = kurtosis_tissue(200)
    signals = torch.cat([measured(MSDKI, truth, 0.1, repeat) for repeat in range(10)], 1)
    table = acquisition_of(np.tile(B_VALUES, 10), np.tile(VECTORS, (10, 1)))
    given = average_shells(relative_voxels(signals, 0.1, table))
    bias = {
        noise: (fit_voxels(MSDKI, given, noise).tissue.values - truth.values)[:, 2].mean()
        for noise in ("gaussian", "rician")
    }
    assert abs(bias["rician"]) < 0.02 < abs(bias["gaussian"])


def test_spread_is_what_the_information_tells():
    truth = stick_tissue(1).values.expand(500, -1)
    fibre = stick_tissue(1).direction.expand(500, -1)
    given = relative_voxels(measured(BALL_STICK, Tissue(truth, fibre), 0.04), 0.04, ACQUISITION, fibre)
    found = fit_voxels(BALL_STICK, given, "rician")
    told = found.standard_deviation.mean(0)[1:]
    spread = found.tissue.values.std(0)[1:]
    assert spread.numpy() == pytest.approx(told.numpy(), rel=0.15)


def test_agrees_with_scipy():
    given = average_shells(relative_voxels(measured(MSDKI, kurtosis_tissue(5), 0.03), 0.03, ACQUISITION))
    expected = scipy_least_squares(MSDKI, given)
    assert fit_voxels(MSDKI, given, "gaussian").tissue.values.numpy() == pytest.approx(expected, rel=2e-3)


def test_dipy_and_the_fit_agree_on_clean_signals():
    truth = kurtosis_tissue(5)
    found = dipy_msdki(measured(MSDKI, truth, 0.0).numpy(), ACQUISITION)
    assert found == pytest.approx(truth.values[:, 1:].numpy(), rel=1e-4)


@pytest.mark.parametrize(("noise", "averaged"), [("rician", False), ("rician", True), ("gaussian", True)])
def test_residual_times_weight_is_the_slope_of_the_likelihood(noise, averaged):
    given = relative_voxels(measured(MSDKI, kurtosis_tissue(3), 0.1), 0.1, ACQUISITION)
    chance = likelihood(average_shells(given) if averaged else given, noise)
    signal = (0.2 + 0.6 * chance.voxels.signals).requires_grad_()
    (slope,) = torch.autograd.grad(chance.log_probability(signal).sum(), signal)
    (inner,) = torch.autograd.grad(chance.expected(signal).sum(), signal)
    step = chance.weights * chance.residual(signal.detach()) * inner
    assert step.detach().numpy() == pytest.approx(slope.numpy(), rel=1e-6)


def test_unknown_noise_is_refused():
    with pytest.raises(SettingError, match="noise model"):
        likelihood(relative_voxels(torch.ones(1, len(B_VALUES)), 0.1, ACQUISITION), "poisson")
