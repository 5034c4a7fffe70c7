"""Losses that several systems share."""

from __future__ import annotations

import torch

MIN_TISSUE_VOXELS = 20


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of values by weight over everything."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def tissue_bias_loss(estimate: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Squared relative error of the mean over each tissue of each sample.

    The posterior mean of a noisy voxel leans towards its surroundings, which lowers the contrast between grey and
    white matter as noise grows; the mean over a tissue has hardly any noise, so that its error is bias.

    Args:
        estimate, truth: perfusion (batch, 1, y, x).
        weights: of the voxels in each tissue (batch, tissues, y, x).
    """
    wanted = (truth * weights).sum((2, 3))
    error = ((estimate - truth) * weights).sum((2, 3))
    enough = weights.sum((2, 3)) > MIN_TISSUE_VOXELS
    return weighted_mean((error / wanted.clamp_min(1e-6)).square(), enough.float())
