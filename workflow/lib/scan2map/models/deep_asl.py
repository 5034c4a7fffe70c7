"""DeepASL: a plain residual network that estimates the noise of perfusion-weighted images.

Source: Ulas et al., MICCAI (2018), figure 1 and section 2.2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

KERNEL = 3
PRELU_START = 0.25


def plain_layer(inputs: int, filters: int, dilation: int = 1) -> nn.Sequential:
    """A 3 × 3 convolution that keeps the size, and a PReLU whose slope is shared over space."""
    convolution = nn.Conv2d(inputs, filters, KERNEL, padding=dilation, dilation=dilation)
    # Keeps the variance through all layers (He et al. 2015); torch's default loses two thirds of it in each.
    nn.init.kaiming_normal_(convolution.weight, a=PRELU_START)
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.PReLU(filters, init=PRELU_START))


class DeepAsl(nn.Module):
    """``layers`` convolutions with PReLU and a last one without: the noise of the input, (batch, channels, y, x).

    Args:
        channels: images per slice (1; one per delay for several delays).
        filters: of every convolution but the last.
        layers: convolutions with activation (8 in the paper, 9 in its code).
    """

    guides = 0  # images of anatomy that it wants beside the difference images

    def __init__(self, channels: int = 1, filters: int = 48, layers: int = 8):
        super().__init__()
        self.halo = (layers + 1) * (KERNEL // 2)
        widths = [channels, *[filters] * layers]
        self.body = nn.Sequential(*(plain_layer(*pair) for pair in pairwise(widths)))
        self.last = nn.Conv2d(filters, channels, KERNEL, padding=KERNEL // 2)

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        """Estimated noise of perfusion-weighted images."""
        return self.last(self.body(noisy))
