"""U-Nets with group normalisation for perfusion and transit time: blind to amplitude, or told about it.

Group normalisation of every convolution removes the amplitude of a sample, which is what perfusion is: with
``conditions`` = 0 the network is the failing control. Otherwise a conditioning vector modulates its deepest and its
decoding features, and scales perfusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import nn
from torch.nn import functional

from scan2map.models.blocks import FeatureModulation

GROUPS = 8
ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
OUTPUTS = 4


class UNetPerfusion(nn.Module):
    """Two-dimensional U-Net of group-normalised convolutions without bias.

    Args:
        inputs: signal channels.
        widths: features of each level, from fine to coarse, multiples of 8.
        conditions: length of the amplitude vector; 0 for none.
        hidden: features that the amplitude vector is turned into.
    """

    def __init__(self, inputs: int, widths: Sequence[int], conditions: int = 0, hidden: int = 32):
        super().__init__()
        norm = ("group", {"num_groups": GROUPS})
        self.conditions = conditions
        self.first = TwoConv(2, inputs, widths[0], ACTIVATION, norm, bias=False)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(Down(2, fine, coarse, ACTIVATION, norm, bias=False) for fine, coarse in pairs)
        self.up = nn.ModuleList(
            UpCat(2, coarse, fine, fine, ACTIVATION, norm, bias=False) for fine, coarse in pairs[::-1]
        )
        self.head = Convolution(2, widths[0], OUTPUTS, kernel_size=1, conv_only=True)
        if conditions:
            self.amplitude = nn.Sequential(nn.Linear(conditions, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden))
            self.modulate = nn.ModuleList(FeatureModulation(hidden, width) for width in widths[::-1])
            self.scale = nn.Linear(hidden, 1)

    def forward(self, signals: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Four maps (batch, 4, y, x): perfusion (positive), transit time, and two logarithms of spreads.

        Args:
            signals: difference signals (batch, inputs, y, x); both sides at least 2**(levels − 1) voxels.
            condition: amplitude vector (batch, conditions), if the network takes one.
        """
        code = self.amplitude(condition) if self.conditions else None
        levels = [self.first(signals)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = self._modulated(levels.pop(), code, 0)
        for place, up in enumerate(self.up, start=1):
            features = self._modulated(up(features, levels.pop()), code, place)
        cbf, rest = self.head(features).split([1, OUTPUTS - 1], dim=1)
        cbf = functional.softplus(cbf)
        if code is not None:
            cbf = cbf * self.scale(code).exp()[:, :, None, None]
        return torch.cat([cbf, rest], dim=1)

    def _modulated(self, features: torch.Tensor, code: torch.Tensor | None, place: int) -> torch.Tensor:
        return features if code is None else self.modulate[place](features, code)
