"""Blocks that several networks share."""

from __future__ import annotations

import torch
from monai.networks.blocks import Convolution
from torch import nn


class LocalBlock(nn.Module):
    """Residual block of a 3 × 3 convolution and a per-pixel mixing, without any normalisation over space.

    Statistics over an image would tie the answer at one voxel to what is elsewhere in the image, and normalisation
    of each sample removes its amplitude.

    Args:
        channels: features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.near = Convolution(2, channels, channels, kernel_size=3, norm=None, act="LEAKYRELU")
        self.mix = Convolution(2, channels, channels, kernel_size=1, conv_only=True)
        nn.init.zeros_(self.mix.conv.weight)
        nn.init.zeros_(self.mix.conv.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (batch, channels, y, x), changed."""
        return features + self.mix(self.near(features))


class FeatureModulation(nn.Module):
    """Feature-wise linear modulation y = (1 + γ(c))·x + β(c) by a conditioning vector.

    Source:
        Perez et al., AAAI 32:3942 (2018).

    Args:
        conditions: length of the conditioning vector.
        channels: features that are modulated.
    """

    def __init__(self, conditions: int, channels: int):
        super().__init__()
        self.coefficients = nn.Linear(conditions, 2 * channels)

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Features (batch, channels, y, x) modulated by a condition (batch, conditions)."""
        scale, shift = self.coefficients(condition)[:, :, None, None].chunk(2, dim=1)
        return features * (1 + scale) + shift
