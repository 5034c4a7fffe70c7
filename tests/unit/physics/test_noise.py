"""Noise against scipy's Rice distribution and its limits."""

import numpy as np
import pytest
import torch
from scipy import stats

from scan2map.physics import noise

COUNT = 200_000


@pytest.mark.parametrize("ratio", [0.0, 0.7, 2.0, 8.0])
def test_rician_values_follow_the_rice_distribution(ratio):
    sigma = 3.0
    values = noise.rician(np.full(COUNT, ratio * sigma), sigma, np.random.default_rng(1))
    expected = stats.rice(ratio, scale=sigma)
    assert values.mean() == pytest.approx(expected.mean(), rel=5e-3)
    assert values.std() == pytest.approx(expected.std(), rel=1e-2)


@pytest.mark.parametrize("ratio", [0.0, 0.7, 2.0, 8.0])
def test_expected_magnitude_is_that_of_the_rice_distribution(ratio):
    assert noise.rician_mean(3 * ratio, 3.0) == pytest.approx(stats.rice(ratio, scale=3.0).mean(), rel=1e-9)


def test_expected_magnitude_of_strong_signal_is_its_root_mean_square_limit():
    # S + σ²/2S for S much larger than σ; the Bessel functions must not overflow on the way.
    assert noise.rician_mean(3e4, 3.0) == pytest.approx(3e4 + 9 / 6e4, rel=1e-12)


def test_complex_noise_has_sigma_in_each_channel_and_none_in_common():
    values = noise.complex_gaussian(np.full(COUNT, 5 + 2j), 0.5, np.random.default_rng(2)) - (5 + 2j)
    assert [values.real.std(), values.imag.std()] == pytest.approx([0.5, 0.5], rel=1e-2)
    assert abs(np.mean(values.real * values.imag)) < 3e-3


def test_without_noise_the_magnitude_is_the_signal():
    assert noise.rician(np.array([0.0, 7.0]), 0.0, np.random.default_rng(0)) == pytest.approx([0.0, 7.0])


def test_torch_and_numpy_agree():
    signal, first, second = np.array([1.0, 2.0]), np.array([0.3, -1.0]), np.array([0.5, 0.1])
    expected = np.hypot(signal + 0.2 * first, 0.2 * second)
    assert noise.rician_magnitude(signal, 0.2, first, second) == pytest.approx(expected)
    tensors = [torch.tensor(values) for values in (signal, first, second)]
    assert noise.rician_magnitude(tensors[0], 0.2, *tensors[1:]).numpy() == pytest.approx(expected)
