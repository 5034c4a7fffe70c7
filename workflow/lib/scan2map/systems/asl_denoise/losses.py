"""Losses: what is left of the noise in the image, in perfusion, and in the transit time of several delays.

Each term is the error over the error of the input, per sample: 1 without any denoising, 0 for the truth. So λ weighs
like with like, whatever the units and the noise level are; the published loss adds squared errors of different units.

Source: Ulas et al., MICCAI (2018), equation 2.
"""

from __future__ import annotations

import torch

from scan2map.training.losses import weighted_mean

FLOOR = 1e-6
LEAST_CONTRAST = 0.1  # squared network units, summed over a sample: less says nothing


def squared(error: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean square of an error inside the mask, per sample: (batch,)."""
    return (error.square() * mask).sum((1, 2, 3)) / (mask.sum((1, 2, 3)) * error.shape[1]).clamp_min(1)


def share_left(estimate: torch.Tensor, given: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Squared error of the estimate over that of the input, mean over the samples that have brain.

    Args:
        estimate, given, truth: images (batch, channels, y, x).
        mask: what each voxel counts (batch, 1, y, x).
    """
    before = squared(given - truth, mask)
    valid = before > FLOOR
    return (squared(estimate - truth, mask) / before.clamp_min(FLOOR))[valid].sum() / valid.sum().clamp_min(1)


def plain_error(estimate: torch.Tensor, given: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Squared error as published, in the square of the unit of the images; ``given`` is not used."""
    return squared(estimate - truth, mask).mean()


def contrast_bias(estimate: torch.Tensor, truth: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """Square of the mean share of the contrast of small structures that an estimate loses (or adds).

    The mean over the batch comes before the square: noise in single samples cancels, what is lost in most does not.
    A loss of squared errors alone shrinks what it cannot tell from noise (bias and variance apart: Mao et al. 2024).

    Args:
        estimate, truth: images (batch, channels, y, x).
        contrast: what the structures change in the truth, same shape.
    """
    energy = contrast.square().sum((1, 2, 3))
    change = ((estimate - truth) * contrast).sum((1, 2, 3)) / energy.clamp_min(LEAST_CONTRAST)
    return weighted_mean(change, (energy > LEAST_CONTRAST).float()).square()


TERMS = {True: share_left, False: plain_error}
