"""Conditional diffusion of the fused image, and the lesion heads that read images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import DiffusionModelUNet
from torch import nn
from torch.nn import functional

DESIGNS = ("spatial", "pooled", "one_pass")
GROUPS = 8
POOLED_FEATURES = 32
# Bone is a matter of yes or no: the share of the CT changes this much faster than the network's last layer.
SHARPNESS = 4.0
# The sigmoid is stretched by this much beyond 0 and 1 and cut there (Louizos et al. 2018, ICLR): a share of exactly 0
# is in reach, where a sigmoid alone leaves a hundredth of the CT everywhere in the brain.
STRETCH = 0.02
LESION_PRIOR = -4.0  # logit of the share of lesion before anything is learned
OUTSIDE = -2.0  # what the lesion heads see outside the brain
SPREAD_CLASSES = 8  # classes of voxels, by the spread of their draws, with intervals of their own


class LesionHead(nn.Module):
    """Logits of lesion from images of a stack of slices: a U-Net whose coarser levels see neighbouring slices.

    Slices are several voxels apart, so that only their plane is made coarser, and the finest level looks within slices.

    Args:
        channels: images that it reads.
        width: features of the first level; twice and four times as many below.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.first = _layers(channels, width, flat=True)
        self.down = nn.ModuleList(
            _layers(inputs, outputs, outputs)
            for inputs, outputs in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width))
        )
        self.up = nn.ModuleList(
            (_layers(8 * width, 2 * width), _layers(4 * width, width), _layers(2 * width, width, flat=True))
        )
        self.last = nn.Conv3d(width, 1, kernel_size=1)
        nn.init.constant_(self.last.bias, LESION_PRIOR)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 1, x, y, z) of images (batch, channels, x, y, z)."""
        levels = [self.first(images)]
        for layers in self.down:
            levels.append(layers(functional.avg_pool3d(levels[-1], (2, 2, 1), ceil_mode=True)))
        found = levels.pop()
        for layers in self.up:
            beside = levels.pop()
            grown = functional.interpolate(found, size=beside.shape[2:], mode="trilinear", align_corners=False)
            found = layers(torch.cat([beside, grown], dim=1))
        return self.last(found)


def _layers(inputs: int, *outputs: int, flat: bool = False) -> nn.Sequential:
    """Convolutions one after the other, each normalised and activated; ``flat`` ones look within slices."""
    shared = {"norm": ("group", {"num_groups": 4}), "act": "SWISH", "kernel_size": (3, 3, 1) if flat else 3}
    widths = (inputs, *outputs)
    return nn.Sequential(*(Convolution(3, a, b, **shared) for a, b in pairwise(widths)))


class PooledEncoder(nn.Module):
    """One image to one vector: what the document's encoders leave of it (kept as a marked, failing variant)."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(dimensions, 1, POOLED_FEATURES // 2, strides=2, norm=None),
            Convolution(dimensions, POOLED_FEATURES // 2, POOLED_FEATURES, strides=2, norm=None),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image).flatten(2).mean(2)


class FusionDiffusion(nn.Module):
    """Predicts the clean image behind a noisy fused one, given MRI and CT of the same place; and lesions.

    The denoiser says how much of the CT each voxel takes and what is to be added: clean = (1 − w) MRI + w CT + r. Both
    sources reach the result undiminished, and what must be learned is smooth. The conditions enter as channels beside
    the noisy image (``spatial``), as one pooled vector each through cross-attention (``pooled``: no image of where
    anything is, and no sources to mix), or alone, without noise and time (``one_pass``: a plain U-Net). With
    ``dimensions: 2`` slices are denoised one by one; the lesion heads always see the stack.

    Args:
        settings: block ``network``.
        channels: images of the condition.
        slab_slices: slices that the lesion heads see at once. They are normalised over what they see, so that a whole
            head is shown to them in overlapping slabs of the depth that they learned from.
    """

    def __init__(self, settings: Mapping[str, Any], channels: int, slab_slices: int):
        super().__init__()
        self.design, self.dimensions, self.slab_slices = settings["design"], settings["dimensions"], slab_slices
        pooled, widths = self.design == "pooled", tuple(settings["channels"])
        levels = [False] * (len(widths) - 1) + [pooled]
        self.denoiser = DiffusionModelUNet(
            spatial_dims=self.dimensions,
            in_channels=1 if pooled else 1 + channels,
            out_channels=1 if pooled else 2,
            channels=widths,
            attention_levels=levels,
            num_res_blocks=settings["residual_blocks"],
            norm_num_groups=GROUPS,
            num_head_channels=GROUPS,
            with_conditioning=pooled,
            cross_attention_dim=POOLED_FEATURES if pooled else None,
        )
        if pooled:
            self.encoders = nn.ModuleList(PooledEncoder(self.dimensions) for _ in range(channels))
        self.lesion = LesionHead(1, settings["lesion_width"])
        self.lesion_stacked = LesionHead(channels, settings["lesion_width"])
        # Set on the validation part at the end of training: probabilities and intervals mean what they say.
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("spread_edges", torch.zeros(SPREAD_CLASSES - 1))
        self.register_buffer("half_width_50", torch.zeros(SPREAD_CLASSES))
        self.register_buffer("half_width_90", torch.zeros(SPREAD_CLASSES))
        # What counts as lesion: probability from which on, and the volume below which a piece is noise.
        self.register_buffer("lesion_threshold", torch.tensor(0.5))
        self.register_buffer("lesion_smallest_ml", torch.zeros(()))

    def forward(self, noisy: torch.Tensor, condition: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The clean image, −1 to 1 but for errors.

        Args:
            noisy: (batch, 1, x, y, z).
            condition: (batch, channels, x, y, z), −1 to 1; the MRI first, the CT through its widest window last.
            time: time step of each sample, (batch,).
        """
        depth = noisy.shape[-1]
        if self.design == "one_pass":
            noisy, time = torch.zeros_like(noisy), torch.zeros_like(time)
        if self.dimensions == 2:
            noisy, condition, time = slices(noisy), slices(condition), time.repeat_interleave(depth)
        found = self._denoise(noisy, condition, time)
        return stacks(found, depth) if self.dimensions == 2 else found

    def _denoise(self, noisy: torch.Tensor, condition: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        if self.design == "pooled":
            words = [encoder(condition[:, i : i + 1]) for i, encoder in enumerate(self.encoders)]
            return self.denoiser(noisy, time, context=torch.stack(words, dim=1))
        share, rest = self.denoiser(torch.cat([noisy, condition], dim=1), time).chunk(2, dim=1)
        weight = ((1 + 2 * STRETCH) * torch.sigmoid(SHARPNESS * share) - STRETCH).clamp(0, 1)
        return (1 - weight) * condition[:, :1] + weight * condition[:, -1:] + rest

    def fused_logits(self, fused: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        """Logits of lesion from a fused image (−2 to 2) and the mask of the brain, (batch, 1, x, y, z)."""
        return in_slabs(self.lesion, _inside(fused, brain), self.slab_slices)

    def stacked_logits(self, sources: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        """The same from the MRI and CT that it was made of, (batch, channels, x, y, z), −2 to 2."""
        return in_slabs(self.lesion_stacked, _inside(sources, brain), self.slab_slices)

    def lesion_probability(self, fused: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        """Calibrated probability of lesion from a fused image, 0 outside the brain."""
        return torch.sigmoid(self.fused_logits(fused, brain) / self.temperature) * (brain > 0)

    def stacked_probability(self, sources: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        """The same from the MRI and CT that it was made of."""
        return torch.sigmoid(self.stacked_logits(sources, brain) / self.temperature) * (brain > 0)


def _inside(images: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Images with nothing outside the brain: skull and scalp are as bright as a lesion."""
    return torch.where(brain > 0, images, OUTSIDE)


def in_slabs(head: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, depth: int) -> torch.Tensor:
    """What a head says of a stack, (batch, 1, x, y, z): mean over slabs of some slices that overlap by half.

    Args:
        head: from (batch, channels, x, y, depth) to (batch, 1, x, y, depth).
        images: (batch, channels, x, y, z).
        depth: slices of a slab; a stack of no more is one slab.
    """
    count = images.shape[-1]
    if count <= depth:
        return head(images)
    starts = sorted({*range(0, count - depth, max(1, depth // 2)), count - depth})
    total, seen = images.new_zeros((len(images), 1, *images.shape[2:])), images.new_zeros(count)
    for first in starts:
        found = head(images[..., first : first + depth])
        total = total + functional.pad(found, (first, count - depth - first))
        seen[first : first + depth] += 1
    return total / seen


def slices(stack: torch.Tensor) -> torch.Tensor:
    """(batch, channels, x, y, z) as (batch · z, channels, x, y)."""
    return stack.permute(0, 4, 1, 2, 3).flatten(0, 1)


def stacks(planes: torch.Tensor, depth: int) -> torch.Tensor:
    """The inverse of :func:`slices`."""
    return planes.unflatten(0, (-1, depth)).permute(0, 2, 3, 4, 1)
