"""Rician likelihood and moments against SciPy's distribution, and gradients against finite differences."""

import numpy as np
import pytest
import torch
from scipy import stats

from scan2map.physics.rician import expected_signal, rician_log_likelihood, rician_moments

SIGNAL = torch.tensor([0.0, 0.02, 0.1, 0.5, 1.0, 1.0], dtype=torch.float64)
SIGMA = torch.tensor([0.1, 0.1, 0.1, 0.2, 0.05, 0.01], dtype=torch.float64)
MAGNITUDE = torch.tensor([0.05, 0.2, 0.15, 0.4, 1.1, 0.98], dtype=torch.float64)


def test_log_likelihood_is_that_of_scipy():
    expected = stats.rice.logpdf(MAGNITUDE, b=SIGNAL / SIGMA, scale=SIGMA)
    assert rician_log_likelihood(MAGNITUDE, SIGNAL, SIGMA).numpy() == pytest.approx(expected, rel=1e-6)


def test_moments_are_those_of_scipy():
    signal, sigma = SIGNAL[:5], SIGMA[:5]  # SciPy's own formula overflows at the last one
    mean, variance = stats.rice.stats(b=signal / sigma, scale=sigma, moments="mv")
    found = rician_moments(signal, sigma)
    assert found.mean.numpy() == pytest.approx(mean, rel=1e-6)
    assert found.variance.numpy() == pytest.approx(variance, rel=1e-6)


def test_rounding_of_single_precision_leaves_the_variance_in_its_range():
    sigma = torch.full((50,), 1e-3)
    variance = rician_moments(torch.linspace(0, 1, 50), sigma).variance / 1e-6
    assert variance.min() >= (2 - np.pi / 2) * (1 - 1e-5)
    assert variance.max() <= 1 + 1e-5


def test_likelihood_stays_finite_at_any_signal():
    value = rician_log_likelihood(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(1e-4))
    assert value == pytest.approx(stats.norm.logpdf(0, scale=1e-4), rel=1e-4)


def test_gradients_are_those_of_finite_differences():
    signal = SIGNAL[1:].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: rician_log_likelihood(MAGNITUDE[1:], s, SIGMA[1:]), signal)
    assert torch.autograd.gradcheck(lambda s: rician_moments(s, SIGMA[1:]).mean, signal)


def test_score_points_from_the_signal_to_the_expected_one():
    signal = SIGNAL[1:].clone().requires_grad_()
    (score,) = torch.autograd.grad(rician_log_likelihood(MAGNITUDE[1:], signal, SIGMA[1:]).sum(), signal)
    signal = signal.detach()
    step = (expected_signal(MAGNITUDE[1:], signal, SIGMA[1:]) - signal) / SIGMA[1:] ** 2
    assert score.numpy() == pytest.approx(step.numpy(), rel=1e-9)
