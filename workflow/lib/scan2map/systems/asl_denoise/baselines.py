"""Conventional filters of difference images, slice by slice: Gaussian, non-local means, total variation.

The last two are told the true noise of the average, which a user would have to estimate. Their strengths are those
with the highest PSNR on the validation heads (docs/asl-denoise.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

NLM_STRENGTH, NLM_PATCH, NLM_BLOCK = 0.6, 1, 5  # patch and search window: voxels on each side
TV_STRENGTH, TV_STEPS, TV_RATE = 0.6, 100, 0.248


def _each(image: torch.Tensor, change: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
    """Every channel of every slice (batch, channels, y, x) changed by itself."""
    flat = image.flatten(0, 1).cpu().numpy()
    return torch.from_numpy(np.stack([change(one) for one in flat])).to(image).view_as(image)


def gaussian(image: torch.Tensor, mask: torch.Tensor, width_voxels: float) -> torch.Tensor:
    """Gaussian of a standard deviation in voxels; voxels outside the brain do not enter (normalised convolution)."""

    def smooth(one: np.ndarray) -> np.ndarray:
        return gaussian_filter(one, width_voxels)

    return _each(image * mask, smooth) / _each(mask, smooth).clamp_min(1e-3) * mask


def non_local_means(image: torch.Tensor, mask: torch.Tensor, sigma: float) -> torch.Tensor:
    """Non-local means (dipy, blockwise; Coupé et al. 2008) for noise of standard deviation ``sigma``."""
    from dipy.denoise.nlmeans import nlmeans

    def filtered(one: np.ndarray) -> np.ndarray:
        strength = NLM_STRENGTH * sigma
        settings = {"patch_radius": NLM_PATCH, "block_radius": NLM_BLOCK, "rician": False, "num_threads": 1}
        return nlmeans(one[..., None].astype(float), strength, **settings)[..., 0].astype(np.float32)

    return mask * _each(image * mask, filtered)


def _gradient(image: torch.Tensor) -> torch.Tensor:
    """Forward differences along y and x, 0 at the far border: (2, ..., y, x)."""
    found = image.new_zeros(2, *image.shape)
    found[0, ..., :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    found[1, ..., :-1] = image[..., 1:] - image[..., :-1]
    return found


def _divergence(field: torch.Tensor) -> torch.Tensor:
    """The negative transpose of :func:`_gradient`."""
    rows, columns = field[0].clone(), field[1].clone()
    rows[..., -1, :], columns[..., -1] = 0, 0
    rows[..., 1:, :] -= field[0, ..., :-1, :]
    columns[..., 1:] -= field[1, ..., :-1]
    return rows + columns


def total_variation(image: torch.Tensor, mask: torch.Tensor, sigma: float, strength: float = TV_STRENGTH):
    """Minimum of ½‖u − image‖² + strength·σ·TV(u) by projections (Chambolle, J Math Imaging Vis 20:89, 2004)."""
    weight, given = strength * sigma, image * mask
    dual = torch.zeros_like(_gradient(given))
    for _ in range(TV_STEPS):
        slope = _gradient(_divergence(dual) - given / weight)
        dual = (dual + TV_RATE * slope) / (1 + TV_RATE * slope.norm(dim=0))
    return mask * (given - weight * _divergence(dual))


def classical_filters(image: torch.Tensor, mask: torch.Tensor, sigma: float) -> dict[str, torch.Tensor]:
    """Every filter by name.

    Args:
        image: difference images (batch, channels, y, x).
        mask: brain (batch, 1, y, x), 0 or 1.
        sigma: noise of the images.
    """
    return {
        "gaussian06": gaussian(image, mask, 0.6),
        "gaussian10": gaussian(image, mask, 1.0),
        "nlm": non_local_means(image, mask, sigma),
        "tv": total_variation(image, mask, sigma),
    }
