"""Noise of control and label images: thermal (Rician) and physiological, different in every voxel.

Physiological noise has two equal parts, one independent from voxel to voxel and one smooth over a few voxels; it is
strongest where there is cerebrospinal fluid and follows the static signal.

References:
    [1] Krüger and Glover, Magn Reson Med 46:631 (2001), physiological noise follows the signal.
    [2] Gudbjartsson and Patz, Magn Reson Med 34:910 (1995), moments of Rician noise.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from scan2map.phantom.slices.tissue import TISSUES, smooth_field
from scan2map.physics.noise import rician_magnitude

# Physiological noise by tissue relative to grey matter.
TISSUE_WEIGHT = {"csf": 2.0, "gm": 1.0, "wm": 0.7}
SMOOTH_VOXELS = 2.5


class Noise(NamedTuple):
    """Noise of one control-label pair, in network units.

    Attributes:
        thermal: σ of the difference, (batch, 1, 1, 1); control and label carry σ/√2 each.
        physiological: standard deviation of the difference in each voxel (batch, 1, y, x).
        static: signal of the control image (batch, 1, y, x).
    """

    thermal: torch.Tensor
    physiological: torch.Tensor
    static: torch.Tensor

    def select(self, index) -> Noise:
        """The noise of some samples."""
        return Noise(*(value[index] for value in self))


def physiological_map(fractions: torch.Tensor) -> torch.Tensor:
    """Strength of physiological noise relative to grey matter, (batch, 1, y, x), from CSF, GM, WM (batch, 3, y, x)."""
    return sum(TISSUE_WEIGHT[name] * fractions[:, i : i + 1] for i, name in enumerate(TISSUES))


def _standard(shape, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _fluctuation(shape, generator: torch.Generator) -> torch.Tensor:
    """Field of variance 1: half independent, half smooth."""
    batch, channels, size, _ = shape
    smooth = smooth_field(batch * channels, size, SMOOTH_VOXELS, generator).view(shape)
    return (_standard(shape, generator) + smooth) / 2**0.5


def measure_pair(clean: torch.Tensor, noise: Noise, generator: torch.Generator) -> torch.Tensor:
    """One control minus one label image (batch, channels, y, x)."""
    channel = noise.thermal / 2**0.5
    moved = noise.physiological / 2**0.5 * torch.ones_like(clean)
    control = noise.static + moved * _fluctuation(clean.shape, generator)
    label = noise.static - clean + moved * _fluctuation(clean.shape, generator)
    return sum(
        sign * rician_magnitude(image, channel, _standard(clean.shape, generator), _standard(clean.shape, generator))
        for sign, image in ((1, control), (-1, label))
    )


def _rician_mean(signal: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Mean of a Rician value for signals of at least three σ, asymptotic series of [2]."""
    inverse = (sigma / signal).square()
    return signal * (1 + inverse / 2 + inverse.square() / 8)


def measure_average(clean: torch.Tensor, noise: Noise, pairs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Average of many pairs, drawn from its mean and variance instead of pair by pair.

    Args:
        clean: noise-free difference signals (batch, channels, y, x).
        noise: of one pair; the static signal is at least three times the thermal noise.
        pairs: how many are averaged, (batch, 1, 1, 1).
        generator: source of randomness.
    """
    channel = noise.thermal / 2**0.5
    mean = _rician_mean(noise.static, channel) - _rician_mean(noise.static - clean, channel)
    thermal = noise.thermal * _standard(clean.shape, generator)
    physiological = noise.physiological * _fluctuation(clean.shape, generator)
    return mean + (thermal + physiological) / pairs.sqrt()
