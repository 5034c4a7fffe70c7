"""Dilated convolutions for denoising perfusion-weighted images: a local and a global pathway.

Source: Kim et al., Radiology 287:658 (2018).
"""

from __future__ import annotations

import torch
from torch import nn

from scan2map.models.deep_asl import KERNEL, plain_layer

DILATIONS = (2, 4, 8, 16)


class DilatedDenoiser(nn.Module):
    """One convolution, four plain and four dilated ones side by side, their concatenation, two more: the noise.

    Args:
        channels: images per slice.
        filters: of each pathway (64 in the paper); the convolution after the concatenation has twice as many.
    """

    guides = 0

    def __init__(self, channels: int = 1, filters: int = 64):
        super().__init__()
        self.halo = 3 * (KERNEL // 2) + sum(DILATIONS)
        self.first = plain_layer(channels, filters)
        self.near = nn.Sequential(*(plain_layer(filters, filters) for _ in DILATIONS))
        self.far = nn.Sequential(*(plain_layer(filters, filters, dilation) for dilation in DILATIONS))
        self.joined = plain_layer(2 * filters, 2 * filters)
        self.last = nn.Conv2d(2 * filters, channels, KERNEL, padding=KERNEL // 2)

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        """Estimated noise of perfusion-weighted images (batch, channels, y, x)."""
        features = self.first(noisy)
        return self.last(self.joined(torch.cat([self.near(features), self.far(features)], dim=1)))
