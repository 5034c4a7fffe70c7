"""Signals, units, noise and the fit over delays against closed forms."""

import pytest
import torch

from scan2map.phantom.slices.perfusion import seeded
from scan2map.physics.asl import cbf_from_pcasl, pcasl_difference
from scan2map.systems.asl_denoise.kinetics import fit_delays
from scan2map.systems.asl_denoise.labelling import Labelling, consensus_map, relative_signal, unit_signal
from scan2map.systems.asl_denoise.noise import Noise, measure_average, measure_pair, physiological_map
from scan2map.systems.asl_denoise.simulator import simulate

ONE = Labelling(torch.tensor([[1.8]]), torch.tensor([1.8]))
SIX = Labelling(torch.tensor([[0.5, 1.0, 1.5, 2.0, 2.5, 3.0]]), torch.tensor([1.8]))


def _image(value):
    return torch.full((1, 1, 2, 2), float(value))


def test_unit_is_perfusion_of_sixty_whatever_the_labelling():
    for delay, duration in ((1.6, 1.8), (2.2, 1.6)):
        labelling = Labelling(torch.tensor([[delay]]), torch.tensor([duration]))
        signal = relative_signal(_image(45.0), _image(0.7), labelling)
        assert torch.allclose(signal, _image(0.75), rtol=1e-5)


def test_consensus_formula_and_network_units_agree():
    difference = pcasl_difference(52.0, 0.5, 1.8, 1.8)
    assert cbf_from_pcasl(difference, 1.0, 1.8, 1.8) == pytest.approx(52.0, rel=1e-5)
    signal = torch.tensor(float(difference)) / unit_signal(ONE) * 1.3  # at a relative M0 of 1.3
    assert consensus_map(signal, _image(1.3)).mean() == pytest.approx(52.0, rel=1e-5)


@pytest.mark.parametrize(("cbf", "att"), [(60.0, 0.9), (20.0, 1.6), (80.0, 1.2)])
def test_fit_over_delays_finds_what_made_the_signals(cbf, att):
    signal = relative_signal(_image(cbf), _image(att), SIX) * 0.8
    found = fit_delays(signal, _image(0.8), SIX)
    assert found[0].mean() == pytest.approx(cbf, rel=0.04)
    assert found[1].mean() == pytest.approx(att, abs=0.08)


def test_fit_over_delays_has_gradients():
    signal = relative_signal(_image(50.0), _image(1.0), SIX).requires_grad_()
    sum(value.sum() for value in fit_delays(signal, _image(1.0), SIX)).backward()
    assert torch.isfinite(signal.grad).all()
    assert signal.grad.abs().max() > 0


def _noise(thermal=0.8, physiological=0.5, static=6.0, size=24):
    shape = (1, 1, size, size)
    return Noise(torch.full((1, 1, 1, 1), thermal), torch.full(shape, physiological), torch.full(shape, static))


def test_averages_drawn_at_once_have_the_moments_of_averages_drawn_pair_by_pair():
    clean, noise, pairs = torch.full((1, 1, 24, 24), 0.9), _noise(), 8
    single = torch.stack(
        [
            torch.stack([measure_pair(clean, noise, seeded(repeat, number)) for number in range(pairs)]).mean(0)
            for repeat in range(60)
        ]
    )
    at_once = torch.stack(
        [measure_average(clean, noise, torch.full((1, 1, 1, 1), float(pairs)), seeded(9, k)) for k in range(60)]
    )
    assert at_once.mean() == pytest.approx(float(single.mean()), abs=0.02)
    assert at_once.std() == pytest.approx(float(single.std()), rel=0.05)
    assert single.std() == pytest.approx(((0.8**2 + 0.5**2) / pairs) ** 0.5, rel=0.05)


def test_noise_floor_lowers_the_difference_as_the_rician_mean_says():
    from scan2map.physics.noise import rician_mean

    clean, noise = torch.full((1, 1, 64, 64), 1.0), _noise(thermal=1.4, physiological=0.0, static=4.0, size=64)
    found = torch.stack([measure_pair(clean, noise, seeded(k)) for k in range(40)]).mean()
    expected = rician_mean(4.0, 1.4 / 2**0.5) - rician_mean(3.0, 1.4 / 2**0.5)
    assert found == pytest.approx(float(expected), abs=0.015)
    assert expected < 0.99


def test_physiological_noise_is_strongest_in_csf_and_partly_smooth():
    fractions = torch.eye(3)[:, :, None, None].expand(3, 3, 32, 32)
    strength = physiological_map(fractions)[:, 0, 0, 0]
    assert strength.tolist() == pytest.approx([2.0, 1.0, 0.7])
    clean = torch.zeros(1, 1, 64, 64)
    one = measure_average(clean, _noise(0.0, 1.0, 6.0, 64), torch.ones(1, 1, 1, 1), seeded(1))
    neighbours = (one[..., 1:] * one[..., :-1]).mean() / one.square().mean()
    assert 0.2 < neighbours < 0.6


def test_a_simulated_batch_is_what_the_truth_says(denoise_settings):
    fractions = torch.zeros(4, 3, 24, 24)
    fractions[:, 1, 4:20, 4:20] = 1
    batch = simulate(fractions, torch.full((4,), 3.0), denoise_settings["simulation"], seeded(5))
    assert batch.noisy.shape == (4, 1, 24, 24)
    assert torch.equal(batch.noisy * batch.mask, batch.noisy)
    error = (batch.noisy - batch.clean)[batch.mask > 0]
    assert abs(float(error.mean())) < 0.1
    assert 0.05 < float(error.std()) < 1.5
    assert torch.isfinite(batch.noisy).all()
