"""Physics features: exact scaling with the signal, independence of far voxels, and a least-squares fit that fits."""

import pytest
import torch

from scan2map.phantom.slices.perfusion import seeded
from scan2map.phantom.slices.tissue import random_tissue
from scan2map.systems.asl_quantnet.features import (
    AMPLITUDE_WIDTH,
    NOISE_WIDTH,
    box_mean,
    feature_count,
    grid_fit,
    perfusion_at,
    physics_features,
    unit_efficiency,
)
from scan2map.systems.asl_quantnet.labelling import difference_signals, nominal
from scan2map.systems.asl_quantnet.simulator import simulate

LABEL = {"pcasl_efficiency": 0.7, "vsasl_efficiency": 0.5, "blood_t1_s": 1.65, "label_duration_s": 1.8}


@pytest.fixture(scope="module")
def scan(thumbnail_settings, delays):
    fractions = random_tissue(2, 24, seeded(1))
    return simulate(fractions, torch.full((2,), 3.0), thumbnail_settings["simulation"], delays, seeded(2))


def test_features_have_the_announced_number(scan, delays):
    found = physics_features(scan.difference, scan.mask, scan.labelling, delays)
    assert found.maps.shape == (2, feature_count(delays), 24, 24)


@pytest.mark.parametrize("scale", [0.25, 4.0, 1024.0])
def test_maps_ignore_the_scale_and_the_scale_carries_it_exactly(scan, delays, scale):
    one = physics_features(scan.difference, scan.mask, scan.labelling, delays)
    other = physics_features(scan.difference * scale, scan.mask, scan.labelling, delays)
    # Powers of two scale without rounding: equality is exact.
    assert torch.equal(other.maps, one.maps)
    assert torch.equal(other.scale, one.scale * scale)
    assert torch.equal(other.signals, one.signals * scale)


def test_labelling_efficiency_cancels_exactly_as_perfusion_does(scan, delays):
    halved = scan.labelling._replace(pcasl_efficiency=scan.labelling.pcasl_efficiency / 2)
    weaker = scan.difference.clone()
    weaker[:, :6] /= 2
    one = unit_efficiency(scan.difference, scan.labelling, delays)
    assert torch.allclose(unit_efficiency(weaker, halved, delays), one)


def test_features_see_a_small_neighbourhood_only(scan, delays):
    changed = scan.difference.clone()
    changed[:, :, 0, 0] += 0.01
    one = physics_features(scan.difference, scan.mask, scan.labelling, delays)
    other = physics_features(changed, scan.mask, scan.labelling, delays)
    reach = max(NOISE_WIDTH, AMPLITUDE_WIDTH) // 2
    far = slice(reach + 1, None)
    assert torch.allclose(one.maps[..., far, :], other.maps[..., far, :], rtol=1e-4, atol=1e-5)
    assert torch.allclose(one.maps[..., far], other.maps[..., far], rtol=1e-4, atol=1e-5)
    assert not torch.equal(one.maps[..., :2, :2], other.maps[..., :2, :2])


@pytest.mark.parametrize("att_s", [0.63, 1.0, 1.47, 2.2, 3.1])
@pytest.mark.parametrize("offset_s", [0.0, 0.4])
def test_the_fit_finds_noise_free_parameters(delays, att_s, offset_s):
    labelling = nominal(LABEL | {"delay_offset_s": offset_s})
    truth = torch.full((1, 1, 1, 1), att_s)
    signals = difference_signals(torch.full_like(truth, 47.0), truth, labelling, delays)
    cbf, found, residual = grid_fit(unit_efficiency(signals, labelling, delays), labelling, delays, "blood_t1")
    assert float(found) == pytest.approx(att_s, abs=0.03)
    assert float(cbf) == pytest.approx(47.0, rel=0.03)
    assert float(residual) < 1e-3 * float(signals.square().sum())


def test_the_fit_agrees_with_the_project_s_least_squares(scan, delays):
    from scan2map.systems.asl_quantnet.baselines import least_squares

    cbf, _, _ = grid_fit(unit_efficiency(scan.difference, scan.labelling, delays), scan.labelling, delays, "blood_t1")
    exact = least_squares(scan.difference, scan.mask, scan.labelling, delays)
    inside = (scan.mask > 0) & (exact.att_s > 0.4) & (exact.att_s < 3.9) & (exact.cbf > 5)
    close = ((cbf - exact.cbf).abs() < 0.06 * exact.cbf + 0.5)[inside].float().mean()
    assert float(close) > 0.85


def test_box_mean_divides_by_the_masked_voxels_only():
    values, mask = torch.ones(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)
    mask[..., :2] = 1
    assert torch.allclose(box_mean(values, mask, 3), mask)


def test_perfusion_at_a_known_transit_time_is_exact_and_linear(delays):
    labelling = nominal(LABEL | {"delay_offset_s": 0.3})
    att_s = torch.tensor([0.7, 1.4, 2.6]).reshape(1, 1, 1, 3)
    truth = torch.tensor([12.0, 60.0, -8.0]).reshape(1, 1, 1, 3)
    signals = unit_efficiency(difference_signals(truth, att_s, labelling, delays), labelling, delays)
    found = perfusion_at(signals, att_s, labelling, delays, "blood_t1")
    assert torch.allclose(found, truth, rtol=1e-4)
    noise = 0.01 * torch.randn(signals.shape, generator=seeded(3))
    parts = [perfusion_at(part, att_s, labelling, delays, "blood_t1") for part in (noise, signals + noise)]
    assert torch.allclose(parts[1] - parts[0], found, rtol=1e-3, atol=1e-3)
