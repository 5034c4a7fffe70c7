"""Anatomy for simulation: tissue fractions of digital heads, slices through them, and random tissue for variety."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional

TISSUES = ("csf", "gm", "wm")
# Variation of each slice beyond the heads' own anatomy: size, shear, tilt (standard deviations).
SCALE_SD, SHEAR_SD, TILT_SD_RAD = 0.08, 0.04, 0.15
# Points per voxel and axis (x, y, z) over which tissue fractions are averaged.
SUBVOXELS = (2, 2, 3)
THICKNESS_RATIO = (1.0, 1.6)  # slice thickness over voxel size
MARGIN_VOXELS = 2
# Axial slices lie between these shares of the head's height.
LOWEST, HIGHEST = 0.4, 0.75


class Head(NamedTuple):
    """Tissue of one head.

    Attributes:
        fractions: CSF, GM, WM (1, 3, x, y, z).
        tissue_voxels: indices of its voxels of mostly grey or white matter (n, 3).
        voxel_size_mm: edge of a voxel.
    """

    fractions: torch.Tensor
    tissue_voxels: torch.Tensor
    voxel_size_mm: float


def head_fractions(subject: str, voxel_size_mm: float, seed: int) -> np.ndarray:
    """CSF, GM and WM of the phantom's head of that name, cropped to the brain, (3, x, y, z) float16.

    The head is the one that ``phantom.subject.build_subject`` gives for the same label and seed.
    """
    from scan2map.config import check_block
    from scan2map.phantom.anatomy import build_head, subject_grid
    from scan2map.phantom.deformation import draw_warp
    from scan2map.phantom.field import LATTICE_MM
    from scan2map.phantom.subject import random_generator

    settings = check_block("phantom_subject", {"voxel_size_mm": voxel_size_mm})
    draw = partial(random_generator, seed, subject)
    warp = draw_warp(subject_grid(LATTICE_MM), settings["deformation"], draw("deformation"))
    head = build_head(subject_grid(voxel_size_mm), warp)
    fractions = np.stack([head.fractions[name] for name in TISSUES])
    inside = np.argwhere(fractions.sum(0) > 0.5)
    low, high = np.maximum(inside.min(0) - MARGIN_VOXELS, 0), inside.max(0) + 1 + MARGIN_VOXELS
    return fractions[(slice(None), *map(slice, low, high))].astype(np.float16)


def load_heads(paths: Iterable) -> list[Head]:
    """Heads from the data set's files."""
    from scan2map.training.dataset import load_subject

    heads = []
    for path in paths:
        arrays, facts = load_subject(path)
        heads.append(as_head(arrays["fractions"], facts["voxel_size_mm"]))
    return heads


def as_head(fractions: np.ndarray, voxel_size_mm: float) -> Head:
    """A head from its tissue fractions (3, x, y, z)."""
    places = np.argwhere(fractions[1:].sum(0) > 0.5)
    return Head(torch.from_numpy(fractions).float()[None], torch.from_numpy(places).float(), voxel_size_mm)


def _normalised(points: torch.Tensor, shape) -> torch.Tensor:
    """Voxel coordinates (…, 3) as grid_sample wants them: −1 to 1, last axis first."""
    size = torch.tensor(shape, dtype=points.dtype, device=points.device)
    return (2 * points / (size - 1) - 1).flip(-1)


def _voxel_points(size: int, voxel_mm: torch.Tensor) -> torch.Tensor:
    """Points of a slice about its centre, mm: (y, x, points per voxel, 3)."""
    index = torch.arange(size, device=voxel_mm.device) - (size - 1) / 2
    y, x = torch.meshgrid(index, index, indexing="ij")
    centres = torch.stack([x, y, torch.zeros_like(x)], dim=-1)
    axes = [(torch.arange(count, device=voxel_mm.device) + 0.5) / count - 0.5 for count in SUBVOXELS]
    inside = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return (centres[:, :, None] + inside) * voxel_mm


def random_axes(generator: np.random.Generator) -> np.ndarray:
    """Axes of a slice as columns (3, 3): any rotation in the plane, a small tilt, size and shear."""
    angles = TILT_SD_RAD * generator.standard_normal(3)
    angles[2] = generator.uniform(0, 2 * np.pi)
    change = SHEAR_SD * generator.standard_normal((3, 3)) + np.diag(1 + SCALE_SD * generator.standard_normal(3))
    return Rotation.from_euler("xyz", angles).as_matrix() @ change


def slice_fractions(head: Head, centres: torch.Tensor, axes: torch.Tensor, size: int, voxel_mm) -> torch.Tensor:
    """Tissue fractions of slices through a head, averaged over each voxel.

    Args:
        head: the head.
        centres: centre of each slice in voxels of the head (batch, 3).
        axes: directions of x, y and the slice normal as columns (batch, 3, 3).
        size: voxels along both sides.
        voxel_mm: voxel size x, y, z.

    Returns:
        (batch, 3, size, size): CSF, GM, WM; their sum is the brain's share of the voxel.
    """
    voxel_mm = torch.as_tensor(voxel_mm, dtype=torch.float32, device=centres.device)
    offsets = torch.einsum("yxpk,bjk->byxpj", _voxel_points(size, voxel_mm), axes) / head.voxel_size_mm
    points = (centres[:, None, None, None] + offsets).flatten(2, 3)[None]
    sampled = functional.grid_sample(head.fractions, _normalised(points, head.fractions.shape[2:]), align_corners=True)
    return sampled[0].transpose(0, 1).unflatten(-1, (size, -1)).mean(-1)


def axial_slices(head: Head, count: int, size: int, voxel_mm) -> torch.Tensor:
    """Tissue fractions (count, 3, size, size) of axial slices spread over the middle of a head."""
    shape = torch.tensor(head.fractions.shape[2:], dtype=torch.float32)
    centres = (shape - 1).div(2).repeat(count, 1)
    centres[:, 2] = torch.linspace(LOWEST, HIGHEST, count) * (shape[2] - 1)
    return slice_fractions(head, centres, torch.eye(3).repeat(count, 1, 1), size, voxel_mm)


class TissueSlices:
    """Draws slices of tissue at random places, for ``training.stream.Samples``.

    Args:
        heads: tissue of the subjects to draw from.
        settings: the block ``simulation``: ``patch_voxels`` and ``voxel_mm``.
    """

    def __init__(self, heads: Sequence[Head], settings: Mapping[str, Any]):
        self.heads, self.settings = heads, settings

    def __call__(self, generator: np.random.Generator) -> dict[str, torch.Tensor]:
        """One slice: ``fractions`` (3, y, x) and ``voxel_mm``."""
        head = self.heads[generator.integers(len(self.heads))]
        centre = head.tissue_voxels[generator.integers(len(head.tissue_voxels))]
        voxel_mm = generator.uniform(*self.settings["voxel_mm"])
        size = (voxel_mm, voxel_mm, voxel_mm * generator.uniform(*THICKNESS_RATIO))
        axes = torch.from_numpy(random_axes(generator)).float()
        fractions = slice_fractions(head, centre[None], axes[None], self.settings["patch_voxels"], size)
        return {"fractions": fractions[0], "voxel_mm": torch.tensor(voxel_mm, dtype=torch.float32)}


def smooth_field(batch: int, size: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Random field of mean 0 and variance about 1 with structure of ``scale`` voxels, (batch, 1, size, size)."""
    nodes = int(np.ceil(size / scale)) + 3
    coarse = torch.randn(batch, 1, nodes, nodes, generator=generator, device=generator.device)
    fine = functional.interpolate(coarse, size=round(nodes * scale), mode="bicubic", align_corners=False)
    edge = (fine.shape[-1] - size) // 2
    return 1.2 * fine[..., edge : edge + size, edge : edge + size]


def random_tissue(batch: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Ribbons of grey matter between white matter and CSF that follow no anatomy, (batch, 3, size, size)."""
    height = smooth_field(batch, size, 7.0, generator) + 0.4 * smooth_field(batch, size, 3.0, generator)
    grey, white = torch.sigmoid(6 * (height + 0.6)), torch.sigmoid(6 * (height - 0.2))
    return torch.cat([1 - grey, grey - white, white], dim=1).clamp(0, 1)
