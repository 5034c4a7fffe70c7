"""Denoising of perfusion-weighted images guided by anatomy: local tissue regression, and a network that corrects it.

Noise has no anatomy, perfusion has: within a few voxels the perfusion of each tissue hardly changes, so that a
regression on the tissue maps averages over many voxels without mixing tissues. A plain network in the manner of
DeepASL sees the image, the anatomy and the regressions over three neighbourhoods, chooses between them in every voxel,
and adds what none of them has (a small lesion, tissue maps that are off).

Sources: Asllani et al., Magn Reson Med 60:1362 (2008), regression on tissue maps; Ulas et al., MICCAI (2018), network.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from scan2map.models.deep_asl import KERNEL, plain_layer

GUIDES = 3  # relative M0 (0 outside the brain), grey matter, white matter
WIDTHS_VOXELS = (0.8, 1.5, 3.0)  # standard deviations of the Gaussian neighbourhoods
REACH = 2  # of a neighbourhood, in standard deviations
RIDGE = 0.003  # keeps the regression solvable where a tissue is absent


def reach_voxels(width_voxels: float) -> int:
    """Voxels on each side that a neighbourhood has."""
    return round(REACH * width_voxels)


def neighbourhood_mean(images: torch.Tensor, width_voxels: float) -> torch.Tensor:
    """Every channel of (batch, channels, y, x) smoothed by a cut Gaussian; zeros lie around the image."""
    reach, channels = reach_voxels(width_voxels), images.shape[1]
    place = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weight = torch.exp(-place.square() / (2 * width_voxels**2))
    weight = (weight / weight.sum()).expand(channels, 1, 1, -1)
    rows = functional.conv2d(images, weight, padding=(0, reach), groups=channels)
    return functional.conv2d(rows, weight.transpose(2, 3), padding=(reach, 0), groups=channels)


def tissue_regression(noisy: torch.Tensor, guide: torch.Tensor, width_voxels: float) -> torch.Tensor:
    """Difference images as grey and white matter of locally constant perfusion would give them (least squares).

    Args:
        noisy: difference images (batch, channels, y, x), 0 outside the brain.
        guide: relative M0, grey and white matter (batch, 3, y, x), 0 outside the brain.
        width_voxels: standard deviation of the Gaussian that weighs the neighbours.

    Returns:
        As ``noisy``.
    """
    m0, grey, white = guide.split(1, dim=1)
    grey, white, channels = grey * m0, white * m0, noisy.shape[1]
    products = torch.cat([grey * grey, grey * white, white * white, grey * noisy, white * noisy], dim=1)
    sums = neighbourhood_mean(products.to(memory_format=torch.channels_last), width_voxels)
    gg, gw, ww = sums[:, :3].split(1, dim=1)
    gn, wn = sums[:, 3:].split(channels, dim=1)
    gg, ww = gg + RIDGE, ww + RIDGE
    determinant = gg * ww - gw * gw
    return ((ww * gn - gw * wn) * grey + (gg * wn - gw * gn) * white) / determinant


class GuidedDenoiser(nn.Module):
    """The noise of difference images (batch, channels, y, x) from them and the anatomy, (batch, channels + 3, y, x).

    Args:
        channels: difference images per slice.
        filters: of every convolution but the last.
        layers: convolutions with activation.
    """

    guides = GUIDES

    def __init__(self, channels: int = 1, filters: int = 48, layers: int = 8):
        super().__init__()
        self.channels, estimates = channels, 1 + len(WIDTHS_VOXELS)
        self.halo = (layers + 1) * (KERNEL // 2) + max(map(reach_voxels, WIDTHS_VOXELS))
        widths = [GUIDES + estimates * channels, *[filters] * layers]
        self.body = nn.Sequential(*(plain_layer(*pair) for pair in pairwise(widths)))
        self.last = nn.Conv2d(filters, channels + estimates, KERNEL, padding=KERNEL // 2)
        # Training starts from the mean of the estimates.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Estimated noise."""
        estimates, anatomy = self.estimates(given)
        seen = torch.cat([anatomy, *estimates], dim=1).to(given.dtype)
        found = self.last(self.body(seen.to(memory_format=torch.channels_last)))  # a third faster on a CPU
        share = torch.softmax(found[:, self.channels :].float(), dim=1).split(1, dim=1)
        mixed = sum(part * estimate for part, estimate in zip(share, estimates, strict=True))
        return (estimates[0] - mixed - found[:, : self.channels].float()).to(given.dtype)

    def estimates(self, given: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The image itself and its regressions, and the anatomy with M0 about 0; in float32."""
        with torch.autocast(given.device.type, enabled=False):
            noisy, guide = given.float().split([self.channels, GUIDES], dim=1)
            inside = (guide[:, :1] > 0).float()
            fits = [tissue_regression(noisy, guide, width) for width in WIDTHS_VOXELS]
        return [noisy, *fits], torch.cat([guide[:, :1] - inside, guide[:, 1:]], dim=1)
