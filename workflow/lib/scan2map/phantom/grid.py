"""Voxel grids in world space (RAS+, mm) and sampling between them."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy import ndimage


class Grid(NamedTuple):
    """An isotropic, axis-aligned voxel grid: voxel-to-world affine (4x4, RAS+ mm) and shape."""

    affine: np.ndarray
    shape: tuple[int, int, int]

    @property
    def voxel_size_mm(self) -> float:
        """Edge length of a voxel, mm."""
        return float(self.affine[0, 0])

    def points(self) -> np.ndarray:
        """World coordinates of the voxel centres, mm, (x, y, z, 3) float32."""
        axes = [self.affine[a, 3] + self.affine[a, a] * np.arange(self.shape[a]) for a in range(3)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


def grid_over(lower_mm, upper_mm, voxel_size_mm: float) -> Grid:
    """The grid of the given voxel size that covers a world box."""
    lower = np.asarray(lower_mm, float)
    shape = np.ceil((np.asarray(upper_mm, float) - lower) / voxel_size_mm - 1e-6).astype(int)
    affine = np.diag([voxel_size_mm, voxel_size_mm, voxel_size_mm, 1.0])
    affine[:3, 3] = lower + voxel_size_mm / 2
    return Grid(affine, tuple(int(n) for n in shape))


def sample(data: np.ndarray, affine: np.ndarray, points: np.ndarray, *, mode: str = "nearest") -> np.ndarray:
    """Read a scalar image at world points by trilinear interpolation.

    Args:
        data: (x, y, z).
        affine: its voxel-to-world affine, axis-aligned.
        points: (..., 3) world mm.
        mode: beyond the image: ``nearest`` (edge value) or ``constant`` (zero).
    """
    scale = np.diag(affine)[:3].astype(np.float32)
    voxels = (points - affine[:3, 3].astype(np.float32)) / scale
    return ndimage.map_coordinates(data, np.moveaxis(voxels, -1, 0), order=1, mode=mode, output=np.float32)


def regrid(data: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Resample (x, y, z, ...) from one grid to another by trilinear interpolation, edge values beyond."""
    if data.ndim > 3:
        channels = [regrid(data[..., c], source, target) for c in range(data.shape[-1])]
        return np.stack(channels, axis=-1)
    step = target.voxel_size_mm / source.voxel_size_mm
    offset = (target.affine[:3, 3] - source.affine[:3, 3]) / source.voxel_size_mm
    with warnings.catch_warnings():
        # SciPy reminds of a change of 2016 whenever it takes the fast way for a diagonal matrix.
        warnings.filterwarnings("ignore", message="The behavior of affine_transform")
        return ndimage.affine_transform(
            data, np.full(3, step), offset, output_shape=target.shape, order=1, mode="nearest", output=np.float32
        )


def smooth_noise(grid: Grid, smoothness_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field of unit standard deviation, smoothed with a Gaussian kernel of that sigma, (x, y, z)."""
    noise = rng.standard_normal(grid.shape).astype(np.float32)
    noise = ndimage.gaussian_filter(noise, smoothness_mm / grid.voxel_size_mm, mode="wrap")
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)
