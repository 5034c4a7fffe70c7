"""Losses against values worked out by hand."""

import math

import pytest
import torch

from scan2map.errors import SettingError
from scan2map.systems.asl_quantnet.bounds import cramer_rao_variance
from scan2map.systems.asl_quantnet.labelling import nominal
from scan2map.systems.asl_quantnet.losses import (
    bias_reduced_loss,
    consistency_loss,
    gaussian_loss,
    weighted_mean,
)
from scan2map.systems.asl_quantnet.training import check_loss
from scan2map.training.losses import tissue_bias_loss

LABEL = {"pcasl_efficiency": 0.7, "vsasl_efficiency": 0.5, "blood_t1_s": 1.65, "label_duration_s": 1.8}


def _maps(*values):
    return torch.tensor(values).reshape(len(values), 1, 1, 1)


def test_weighted_mean():
    assert float(weighted_mean(_maps(1.0, 5.0), _maps(3.0, 1.0))) == pytest.approx(2.0)


def test_gaussian_loss_is_the_likelihood_for_beta_zero():
    # ½ (2/4)² + log 4
    value = gaussian_loss(_maps(2.0), _maps(math.log(4.0)), _maps(1.0), beta=0.0)
    assert float(value) == pytest.approx(0.125 + math.log(4.0))


def test_gaussian_loss_with_beta_weighs_by_the_spread():
    # sd^(2·½) = 4
    value = gaussian_loss(_maps(2.0), _maps(math.log(4.0)), _maps(1.0), beta=0.5)
    assert float(value) == pytest.approx(4 * (0.125 + math.log(4.0)))


def test_gaussian_loss_is_least_where_the_spread_is_the_error():
    spreads = torch.linspace(-2, 2, 401)
    values = torch.stack([gaussian_loss(_maps(1.5), _maps(float(s)), _maps(1.0), beta=0.0) for s in spreads])
    assert float(spreads[values.argmin()]) == pytest.approx(math.log(1.5), abs=0.01)


def test_consistency_counts_in_noise():
    predicted = torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1)
    value = consistency_loss(predicted, torch.zeros_like(predicted), torch.tensor([2.0]), _maps(1.0))
    assert float(value) == pytest.approx((1.5**2 + 0.5**2) / 2)


def test_bias_reduced_loss_by_hand():
    # Truth 1: errors 3, 1: mean 2, variance 2; bias² = 4 − 2/2 = 3; CRB 2: 3/2 + 1·max(2/2 − 1, 0) = 1.5
    # Truth 2: errors 4, −4: mean 0, variance 32; bias² = 0 − 16; CRB 4: −4 + max(8 − 1, 0) = 3
    errors, bound = _maps(3.0, 1.0, 4.0, -4.0), _maps(2.0, 2.0, 4.0, 4.0)
    value = bias_reduced_loss(errors, bound, torch.ones_like(errors), 2, strength=1.0, allowance=1.0)
    assert float(value) == pytest.approx((1.5 + 3.0) / 2)


def test_bias_estimate_has_no_bias_of_its_own():
    generator = torch.Generator().manual_seed(0)
    errors = 0.5 + torch.randn(40_000, 1, 1, 1, generator=generator)
    one = torch.ones_like(errors)
    value = bias_reduced_loss(errors, one, one, 8, strength=0.0, allowance=1.0)
    assert float(value) == pytest.approx(0.25, abs=0.02)


def test_tissue_bias_sees_the_mean_but_not_the_scatter():
    truth = torch.full((1, 1, 10, 10), 50.0)
    weights = torch.ones(1, 1, 10, 10)
    scatter = torch.where(torch.arange(100).reshape(1, 1, 10, 10) % 2 == 0, 20.0, -20.0)
    assert float(tissue_bias_loss(truth + scatter, truth, weights)) == pytest.approx(0.0, abs=1e-9)
    assert float(tissue_bias_loss(truth * 1.1, truth, weights)) == pytest.approx(0.01, rel=1e-4)


def test_tissue_bias_ignores_a_tissue_that_is_hardly_there():
    truth = torch.full((1, 1, 10, 10), 50.0)
    weights = torch.zeros(1, 1, 10, 10)
    weights[..., 0, :5] = 1
    assert float(tissue_bias_loss(truth * 2, truth, weights)) == 0.0


def test_cramer_rao_bound_is_that_of_the_project_s_physics(delays):
    from scan2map.physics.asl_kinetics import cramer_rao_sd
    from scan2map.systems.asl_quantnet.baselines import label_design

    labelling, cbf, att = nominal(LABEL, 2), torch.tensor([60.0, 25.0]), torch.tensor([1.2, 1.7])
    sigma = torch.tensor([0.001, 0.002])
    found = cramer_rao_variance(
        cbf[:, None, None, None], att[:, None, None, None], labelling, delays, sigma, "blood_t1"
    )
    for sample in range(2):
        expected = cramer_rao_sd(
            label_design(labelling, sample, delays),
            cbf[sample : sample + 1],
            att[sample : sample + 1],
            float(sigma[sample]),
        )
        for mine, theirs in zip(found, expected, strict=True):
            assert float(mine[sample].sqrt()) == pytest.approx(float(theirs), rel=1e-4)


def test_bias_reduced_loss_needs_realisations():
    with pytest.raises(SettingError, match="realisations"):
        check_loss({"simulation": {"realisations": 1}, "loss": {"bias_reduced": 1.0}})
