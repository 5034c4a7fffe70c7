"""Small local network: which neighbours of a voxel to average, and how to correct the result."""

from __future__ import annotations

from typing import NamedTuple

import torch
from monai.networks.blocks import Convolution
from torch import nn
from torch.nn import functional

from scan2map.models.blocks import LocalBlock

OUTSIDE = -1e4  # logit of a neighbour outside the brain


class Refinement(NamedTuple):
    """What the network says of each voxel, tensors (batch, …, y, x).

    Attributes:
        weights: of the voxel's neighbours, row by row (batch, width², y, x); 0 outside the mask, their sum is 1.
        att_s: transit time (batch, 1, y, x), s.
        change_cbf: correction of perfusion in units of the local amplitude.
        log_sd_cbf: logarithm of the standard deviation of perfusion in units of the local amplitude.
        log_sd_att: logarithm of the standard deviation of the transit time, s.
    """

    weights: torch.Tensor
    att_s: torch.Tensor
    change_cbf: torch.Tensor
    log_sd_cbf: torch.Tensor
    log_sd_att: torch.Tensor


class LocalPerfusionNet(nn.Module):
    """Predicts for each voxel which neighbours resemble it, and refines what their average gives.

    Perfusion is linear in the signals: averaging them with predicted weights keeps the amplitude and what least squares
    promises, and leaves to the network where a tissue ends (kernel-predicting network). The transit time is a weighted
    mean of estimates from narrow to wide averaging. Corrections and spreads count in units of the local noise, and
    farther neighbours and wider averages are discounted by a power of it: without noise the voxel itself remains.
    There is no pooling and no normalisation over space.

    Source:
        Bako et al., ACM Trans Graph 36:97 (2017), kernel-predicting networks.

    Args:
        features: input channels.
        estimates: least-squares estimates of the transit time.
        channels: width of the trunk.
        blocks: number of residual blocks; the receptive field is 2·blocks + 1 voxels.
        width: neighbours across, odd.
    """

    def __init__(self, features: int, estimates: int, channels: int, blocks: int, width: int):
        super().__init__()
        self.parts = [estimates, width**2, 4]
        self.width = width
        self.enter = Convolution(2, features, channels, kernel_size=1, norm=None, act="LEAKYRELU")
        self.trunk = nn.Sequential(*(LocalBlock(channels) for _ in range(blocks)))
        self.leave = Convolution(2, channels, channels, kernel_size=1, norm=None, act="LEAKYRELU")
        self.head = Convolution(2, channels, sum(self.parts), kernel_size=1, conv_only=True)
        nn.init.zeros_(self.head.conv.weight)
        nn.init.zeros_(self.head.conv.bias)
        place = torch.arange(width) - width // 2
        distance = (place[:, None].square() + place.square()).sqrt().flatten()
        self.register_buffer("distance", distance[:, None, None], persistent=False)

    def forward(self, features: torch.Tensor, att_s: torch.Tensor, noise: torch.Tensor, mask: torch.Tensor):
        """The :class:`Refinement` of each voxel.

        Args:
            features: (batch, features, y, x), free of scale.
            att_s: estimates of the transit time (batch, estimates, y, x), narrow to wide averaging, s.
            noise: local noise in units of the local amplitude (batch, 1, y, x), above 0.
            mask: voxels that may be averaged (batch, 1, y, x), 0 or 1.
        """
        features = features.contiguous(memory_format=torch.channels_last)
        out = self.head(self.leave(self.trunk(self.enter(features)))).float()
        weights_att, kernel, rest = out.split(self.parts, dim=1)
        change_cbf, change_att, log_sd_cbf, log_sd_att = rest.split(1, dim=1)
        log_noise = noise.log()
        discount = log_noise * torch.arange(att_s.shape[1], device=noise.device)[:, None, None]
        mean_att = ((weights_att + discount).softmax(1) * att_s).sum(1, keepdim=True)
        return Refinement(
            self._weights(kernel + log_noise * self.distance, mask),
            mean_att + noise * change_att,
            noise * change_cbf,
            log_sd_cbf + log_noise,
            log_sd_att + log_noise,
        )

    def _weights(self, logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        near = functional.unfold(mask, self.width, padding=self.width // 2).unflatten(-1, mask.shape[-2:])
        return logits.masked_fill(near == 0, OUTSIDE).softmax(1)


def average_neighbours(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted sum over the neighbours of each voxel, 0 beyond the edge of the image.

    Args:
        images: (batch, channels, y, x).
        weights: of a square neighbourhood, row by row (batch, width², y, x).
    """
    width = round(weights.shape[1] ** 0.5)
    rows, columns = images.shape[-2:]
    padded = functional.pad(images, [width // 2] * 4)
    total = torch.zeros_like(images)
    for place, weight in enumerate(weights.split(1, dim=1)):
        y, x = divmod(place, width)
        total = total + weight * padded[..., y : y + rows, x : x + columns]
    return total
