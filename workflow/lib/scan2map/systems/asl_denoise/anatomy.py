"""What a guided network knows of a slice beside its difference images: measured M0 and tissue maps from another image.

M0 is read out as the difference images are and lies where they lie. Tissue maps come from the T1w image: they are off
by the error of registration and distortion, and sharper or softer than the truth. Training draws all of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from scan2map.phantom.slices.perfusion import spread, uniform
from scan2map.phantom.slices.tissue import smooth_field

if TYPE_CHECKING:
    from scan2map.systems.asl_denoise.simulator import Slices

WARP_VOXELS, WARP_SCALE_VOXELS = 0.15, 10.0  # distortion that a rigid registration leaves: standard deviation, size
SHARPNESS = (0.7, 1.5)  # exponent on the tissue shares, of a segmentation that is too soft or too sharp
MISLABELLED, MISLABELLED_SCALE_VOXELS = 0.1, 6.0  # share of grey taken for white matter or the reverse
SMALLEST_SHARE = 1e-4


def as_guide(relative_m0: torch.Tensor, tissue: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The guide of a network: M0, grey and white matter, 0 outside the brain.

    Args:
        relative_m0: M0 over its median in the brain (batch, 1, y, x).
        tissue: CSF, GM, WM (batch, 3, y, x).
        mask: brain (batch, 1, y, x), 0 or 1.
    """
    return torch.cat([relative_m0, tissue[:, 1:]], dim=1) * mask


def moved(images: torch.Tensor, shift_voxels: torch.Tensor) -> torch.Tensor:
    """Images (batch, channels, y, x) read ``shift_voxels`` (batch, 2, y, x) away, x before y."""
    size = images.shape[-1]
    identity = torch.eye(2, 3, device=images.device).expand(len(images), -1, -1)
    grid = functional.affine_grid(identity, list(images.shape), align_corners=True)
    grid = grid + (shift_voxels * 2 / (size - 1)).permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, align_corners=True, padding_mode="border")


def measured_m0(relative_m0: torch.Tensor, noise: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """M0 with noise of a standard deviation per sample (batch,), relative to the median of the brain."""
    return relative_m0 + spread(noise) * torch.randn(relative_m0.shape, generator=generator, device=noise.device)


def random_directions(lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Displacements (batch, 2) of given lengths (batch,)."""
    angle = uniform(len(lengths), (0, 2 * torch.pi), generator)
    return lengths[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


def segmented(tissue: torch.Tensor, shift_voxels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Tissue maps (batch, 3, y, x) as registration and segmentation of another image would give them.

    Args:
        tissue: true CSF, GM, WM.
        shift_voxels: displacement (batch, 2).
        generator: source of randomness.
    """
    batch, _, size, _ = tissue.shape
    warp = smooth_field(2 * batch, size, WARP_SCALE_VOXELS, generator).view(batch, 2, size, size)
    found = moved(tissue, shift_voxels[:, :, None, None] + WARP_VOXELS * warp)
    brain = found.sum(1, keepdim=True)
    powers = found.clamp_min(SMALLEST_SHARE) ** spread(uniform(batch, SHARPNESS, generator))
    csf, grey, white = (powers / powers.sum(1, keepdim=True) * brain).split(1, dim=1)
    wrong = MISLABELLED * smooth_field(batch, size, MISLABELLED_SCALE_VOXELS, generator)
    taken = white * wrong.clamp_min(0) + grey * wrong.clamp_max(0)
    return torch.cat([csf, grey + taken, white - taken], dim=1)


def measured_guide(
    slices: Slices, noise: torch.Tensor, shift_voxels: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The guide of simulated slices, measured.

    Args:
        slices: the truth.
        noise: of M0 (batch,), relative to the median of the brain.
        shift_voxels: displacement of the tissue maps (batch, 2).
        generator: source of randomness.
    """
    m0 = measured_m0(slices.relative_m0, noise, generator)
    return as_guide(m0, segmented(slices.fractions, shift_voxels, generator), slices.mask)


def draw_guide(
    slices: Slices, voxel_mm: torch.Tensor, settings: Mapping[str, Any], generator: torch.Generator
) -> torch.Tensor:
    """The guide of a training batch.

    Args:
        slices: the truth.
        voxel_mm: voxel size in the slice (batch,).
        settings: block ``anatomy`` of the simulation.
        generator: source of randomness.
    """
    batch = len(voxel_mm)
    spread_mm = uniform(batch, settings["registration_mm"], generator)
    shift = torch.randn(batch, 2, generator=generator, device=voxel_mm.device) * (spread_mm / voxel_mm)[:, None]
    return measured_guide(slices, uniform(batch, settings["m0_noise"], generator), shift, generator)
