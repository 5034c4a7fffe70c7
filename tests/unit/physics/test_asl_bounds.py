"""The Chapman-Robbins bound: its limits, its closed form, and that an unbiased estimate stays above it."""

import numpy as np
import pytest

from scan2map.physics import asl_bounds
from scan2map.physics.asl_bounds import chapman_robbins_sd
from scan2map.physics.asl_design import label_design
from scan2map.physics.asl_kinetics import cramer_rao_sd, difference_signals

DELAYS = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
PCASL = label_design("PCASL", DELAYS, 1.8, efficiency=0.85)
VSASL = label_design("VSASL", DELAYS, float("inf"), efficiency=0.56)
CBF, ATT = np.array([60.0, 22.0, 40.0]), np.array([1.23, 1.71, 0.87])


@pytest.mark.parametrize("design", [PCASL, VSASL])
def test_strong_signal_attains_the_cramer_rao_bound(design):
    sharp = chapman_robbins_sd(design, CBF, ATT, 1e-6)
    for own, plain in zip(sharp, cramer_rao_sd(design, CBF, ATT, 1e-6), strict=True):
        assert own == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("model", ["consensus", "general_kinetic"])
def test_kinks_and_noise_raise_the_floor(model):
    sigma = float(difference_signals(VSASL, CBF, ATT).mean() / 5)
    sharp = chapman_robbins_sd(VSASL, CBF, ATT, sigma, model=model)
    plain = cramer_rao_sd(VSASL, CBF, ATT, sigma, model=model)
    assert all((one >= two).all() for one, two in zip(sharp, plain, strict=True))
    assert (sharp[1] > 1.05 * plain[1]).any()


def test_one_test_point_is_the_formula_of_chapman_and_robbins():
    """(θ₁ − θ)² / (exp(d²/σ²) − 1) where the slopes at the truth say nothing about the parameters."""
    away, off = np.zeros((3, 2, 1)), np.zeros((3, 2, 1))
    away[2, :, 0] = (0.6, 0.8)
    off[2, :, 0] = (0.0, 0.3)
    assert asl_bounds._bound(away, off)[1, 0] == pytest.approx(0.3**2 / np.expm1(1.0), rel=1e-9)


def test_unbiased_estimate_of_two_gaussians_stays_above_it():
    """The mean of one Gaussian observation is unbiased: its variance is not below the bound with any test point."""
    away, off = np.zeros((4, 1, 1)), np.zeros((4, 2, 1))
    away[0, 0, 0] = off[0, 0, 0] = 1.0
    for point, shift in ((2, 0.7), (3, -1.3)):
        away[point, 0, 0] = off[point, 0, 0] = shift
    assert asl_bounds._bound(away, off)[0, 0] == pytest.approx(1.0, rel=1e-9)
