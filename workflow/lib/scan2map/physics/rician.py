"""Likelihood and moments of magnitude signals, on torch tensors and differentiable.

A magnitude M of a signal S with complex Gaussian noise of standard deviation σ per channel has the Rician density
p(M) = M/σ² exp(−(M² + S²)/2σ²) I₀(MS/σ²) [1].

References:
    [1] Gudbjartsson, Patz, Magn Reson Med 34:910 (1995).
    [2] Koay, Basser, J Magn Reson 179:317 (2006), moments.
    [3] Sijbers et al., IEEE Trans Med Imaging 17:357 (1998), maximum likelihood.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.special import i0e, i1e


class Moments(NamedTuple):
    """Mean and variance of a magnitude."""

    mean: torch.Tensor
    variance: torch.Tensor


def rician_log_likelihood(magnitude: torch.Tensor, signal: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """ln p(M | S, σ) of each value [1]; the scaled Bessel function keeps it finite at any signal-to-noise ratio.

    Args:
        magnitude: measured, above 0.
        signal: noise-free, not negative.
        sigma: standard deviation of one channel, above 0.
    """
    variance = sigma**2
    product = magnitude * signal / variance
    return (magnitude / variance).log() - (magnitude - signal) ** 2 / (2 * variance) + i0e(product).log()


def expected_signal(magnitude: torch.Tensor, signal: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """M I₁(x)/I₀(x), x = MS/σ²: what the noise-free signal is taken for in one step towards maximum likelihood.

    The derivative of the log likelihood by S is (this − S)/σ² [3].
    """
    product = magnitude * signal / sigma**2
    return magnitude * i1e(product) / i0e(product)


def rician_moments(signal: torch.Tensor, sigma: torch.Tensor) -> Moments:
    """Mean σ√(π/2) L½(−S²/2σ²) and variance 2σ² + S² − mean² of a magnitude [2].

    The variance lies between (2 − π/2)σ² and σ²; rounding at high signal is kept inside.

    Args:
        signal: noise-free, not negative.
        sigma: standard deviation of one channel, above 0.
    """
    x = signal**2 / (4 * sigma**2)
    mean = sigma * math.sqrt(math.pi / 2) * ((1 + 2 * x) * i0e(x) + 2 * x * i1e(x))
    variance = 2 * sigma**2 + signal**2 - mean**2
    return Moments(mean, torch.minimum(torch.maximum(variance, (2 - math.pi / 2) * sigma**2), sigma**2))
