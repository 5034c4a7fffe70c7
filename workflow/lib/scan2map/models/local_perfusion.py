"""Small network without pooling or normalisation: each voxel and its neighbourhood to perfusion and transit time."""

from __future__ import annotations

import torch
from monai.networks.blocks import Convolution
from torch import nn

from scan2map.models.blocks import LocalBlock


class LocalPerfusionNet(nn.Module):
    """Refines least-squares estimates of several averaging widths by features of the neighbourhood.

    Perfusion and transit time share one trunk. Each is a weighted mean of the estimates it is given, from narrow to
    wide averaging, plus a correction. Corrections and spreads count in units of the local noise, and a wider average is
    discounted by a further power of it: without noise the narrowest estimate remains.

    Args:
        features: input channels.
        estimates: least-squares estimates of each quantity.
        channels: width of the trunk.
        blocks: number of residual blocks; the receptive field is 2·blocks + 1 voxels.
    """

    def __init__(self, features: int, estimates: int, channels: int, blocks: int):
        super().__init__()
        self.estimates = estimates
        self.enter = Convolution(2, features, channels, kernel_size=1, norm=None, act="LEAKYRELU")
        self.trunk = nn.Sequential(*(LocalBlock(channels) for _ in range(blocks)))
        self.leave = Convolution(2, channels, channels, kernel_size=1, norm=None, act="LEAKYRELU")
        self.head = Convolution(2, channels, 2 * estimates + 4, kernel_size=1, conv_only=True)
        nn.init.zeros_(self.head.conv.weight)
        nn.init.zeros_(self.head.conv.bias)

    def forward(self, features: torch.Tensor, cbf: torch.Tensor, att_s: torch.Tensor, noise: torch.Tensor):
        """Perfusion and transit time, and the logarithms of their standard deviations.

        Args:
            features: (batch, features, y, x), free of scale.
            cbf: estimates of perfusion in units of the local amplitude (batch, estimates, y, x), narrow to wide.
            att_s: estimates of the transit time, s.
            noise: local noise in units of the local amplitude (batch, 1, y, x), above 0.

        Returns:
            cbf, att_s, log_sd_cbf, log_sd_att, each (batch, 1, y, x); perfusion in units of the local amplitude.
        """
        out = self.head(self.leave(self.trunk(self.enter(features))))
        weights_cbf, weights_att, rest = out.split([self.estimates, self.estimates, 4], dim=1)
        change_cbf, change_att, log_sd_cbf, log_sd_att = rest.split(1, dim=1)
        log_noise = noise.log()
        discount = log_noise * torch.arange(self.estimates, device=noise.device)[:, None, None]
        mean_cbf = ((weights_cbf + discount).softmax(1) * cbf).sum(1, keepdim=True)
        mean_att = ((weights_att + discount).softmax(1) * att_s).sum(1, keepdim=True)
        return (
            mean_cbf + noise * change_cbf,
            mean_att + noise * change_att,
            log_sd_cbf + log_noise,
            log_sd_att + log_noise,
        )
