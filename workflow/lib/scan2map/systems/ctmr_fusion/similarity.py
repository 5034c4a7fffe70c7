"""Structural similarity that a gradient can follow, of two images inside a region."""

from __future__ import annotations

import torch
from torch.nn import functional

from scan2map.evaluation.fusion_scores import DATA_RANGE, SSIM_K1, SSIM_K2, SSIM_RADIUS, SSIM_SIGMA
from scan2map.models.fusion_diffusion import slices, stacks


def _window(device) -> torch.Tensor:
    places = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float32, device=device)
    weights = torch.exp(-0.5 * (places / SSIM_SIGMA) ** 2)
    return weights / weights.sum()


def _smooth(planes: torch.Tensor) -> torch.Tensor:
    window = _window(planes.device)
    along = functional.conv2d(planes, window[None, None, :, None], padding=(SSIM_RADIUS, 0))
    return functional.conv2d(along, window[None, None, None, :], padding=(0, SSIM_RADIUS))


def similarity_inside(first: torch.Tensor, second: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Structural similarity around every voxel within its slice, of what lies inside a mask only.

    Args:
        first, second: (batch, 1, x, y, z), on one scale from −2 to 2.
        mask: where they are compared, 0 or 1, same shape; voxels outside have no influence.

    Returns:
        −1 to 1 inside the mask, 0 outside, same shape.
    """
    depth, inside = first.shape[-1], slices(mask.to(first.dtype))
    first, second = slices(first), slices(second)
    share = _smooth(inside).clamp_min(1e-6)

    def local(values: torch.Tensor) -> torch.Tensor:
        return _smooth(values * inside) / share

    one, two = (SSIM_K1 * DATA_RANGE) ** 2, (SSIM_K2 * DATA_RANGE) ** 2
    mean_a, mean_b = local(first), local(second)
    spread = local(first**2) - mean_a**2 + local(second**2) - mean_b**2
    shared = local(first * second) - mean_a * mean_b
    index = (2 * mean_a * mean_b + one) * (2 * shared + two) / ((mean_a**2 + mean_b**2 + one) * (spread + two))
    return stacks(index * inside, depth)


def dissimilarity(first: torch.Tensor, second: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """1 − mean similarity inside the mask, one number per sample (batch,); 0 where the mask is empty."""
    index = similarity_inside(first, second, mask)
    inside = mask.to(first.dtype).flatten(1).sum(1)
    return (inside - index.flatten(1).sum(1)) / inside.clamp_min(1)
