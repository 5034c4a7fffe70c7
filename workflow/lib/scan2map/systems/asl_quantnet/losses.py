"""Losses: likelihood with a learned spread, kinetic-model consistency, and the bias-reduced loss.

References:
    [1] Seitzer et al., ICLR (2022), β-weighted Gaussian likelihood.
    [2] Mao et al., Magn Reson Med (2024), Bias-reduced neural networks for parameter estimation in quantitative MRI.
"""

from __future__ import annotations

import torch

from scan2map.training.losses import weighted_mean

BETA = 0.25  # [1]: between the likelihood (0) and plain squared error (1)


def gaussian_loss(error: torch.Tensor, log_sd: torch.Tensor, weight: torch.Tensor, beta: float = BETA) -> torch.Tensor:
    """sd^(2β) · (½ (error/sd)² + log sd), with the factor taken as constant [1]."""
    log_sd = log_sd.clamp(-7, 4)
    value = 0.5 * error.square() * torch.exp(-2 * log_sd) + log_sd
    return weighted_mean(value * torch.exp(2 * beta * log_sd.detach()), weight)


def consistency_loss(predicted: torch.Tensor, measured: torch.Tensor, sigma: torch.Tensor, mask) -> torch.Tensor:
    """Mean squared difference between predicted and measured signals in units of the noise.

    Args:
        predicted: signals of the predicted parameters (batch, channels, y, x).
        measured: signals that they should explain.
        sigma: noise of one volume (batch,).
        mask: voxels that count (batch, 1, y, x).
    """
    scaled = (predicted - measured) / sigma[:, None, None, None]
    return weighted_mean(scaled.square().mean(1, keepdim=True), mask)


def bias_reduced_loss(
    error: torch.Tensor, bound: torch.Tensor, weight: torch.Tensor, copies: int, *, strength: float, allowance: float
) -> torch.Tensor:
    """bias²/CRB + λ·max(variance/CRB − δ, 0) over noise realisations of the same truth [2].

    The squared mean of few realisations holds variance/copies too much, which is taken off.

    Args:
        error: estimate − truth (batch, 1, y, x); ``copies`` realisations of a sample follow each other.
        bound: Cramér-Rao bound of the variance, same shape.
        weight: voxels that count, same shape.
        copies: realisations of each truth, at least 2.
        strength: λ.
        allowance: δ.
    """
    grouped = error.unflatten(0, (-1, copies))
    variance = grouped.var(1)
    bound, weight = (value.unflatten(0, (-1, copies))[:, 0] for value in (bound, weight))
    squared_bias = grouped.mean(1).square() - variance / copies
    value = squared_bias / bound + strength * (variance / bound - allowance).clamp_min(0)
    return weighted_mean(value, weight)
