"""Acquisition grids, and sampling of the head on them with the mean over each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class AcquisitionGrid:
    """Where a series is measured.

    Attributes:
        shape: voxels along readout, phase encoding and slice.
        affine: voxel to world, RAS+ mm, 4x4; the axes point right, anterior and superior but for the obliquity.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def voxel_size_mm(self) -> np.ndarray:
        """Edge lengths, mm, (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def centre_mm(self) -> np.ndarray:
        """World position of the middle of the field of view, mm, (3,)."""
        return self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]

    def world_mm(self, cells_per_voxel=(1, 1, 1)) -> np.ndarray:
        """World positions of the centres of the (sub-)voxels, mm, (x, y, z, 3) float32."""
        cells = subdivide(self, cells_per_voxel)
        axes = [np.arange(count)[:, None] * cells.affine[:3, axis] for axis, count in enumerate(cells.shape)]
        total = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] + cells.affine[:3, 3]
        return total.astype(np.float32)


def make_grid(voxel_size_mm, field_of_view_mm, oblique_deg, centre_mm) -> AcquisitionGrid:
    """Grid of a field of view around a point.

    Args:
        voxel_size_mm: (3,) mm.
        field_of_view_mm: (3,) mm; rounded up to whole voxels.
        oblique_deg: (3,) rotation of the field of view about the world's x, y and z axis, degrees.
        centre_mm: middle of the field of view, RAS mm.
    """
    size = np.asarray(voxel_size_mm, dtype=float)
    shape = tuple(int(count) for count in np.ceil(np.asarray(field_of_view_mm) / size - 1e-6))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", oblique_deg, degrees=True).as_matrix() * size
    affine[:3, 3] = np.asarray(centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return AcquisitionGrid(shape, affine)


def subdivide(grid: AcquisitionGrid, cells_per_voxel) -> AcquisitionGrid:
    """The same field of view with each voxel cut into equal cells along each axis."""
    factor = np.asarray(cells_per_voxel, dtype=float)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] / factor
    affine[:3, 3] = grid.affine[:3, 3] + grid.affine[:3, :3] @ (0.5 / factor - 0.5)
    return AcquisitionGrid(tuple(int(n * f) for n, f in zip(grid.shape, cells_per_voxel, strict=True)), affine)


def normalised_points(cells: AcquisitionGrid, cells_to_source: np.ndarray, source_shape) -> torch.Tensor:
    """Sampling positions for ``grid_sample``: (1, x, y, z, 3), last axis in its order (z, y, x), −1 to 1.

    Args:
        cells: the grid to sample on.
        cells_to_source: 4x4, world of the cells to voxels of the source.
        source_shape: voxels of the source, (3,).
    """
    matrix = cells_to_source @ cells.affine
    points = torch.empty((1, *cells.shape, 3))
    for row in range(3):
        scale = 2 / (source_shape[row] - 1)
        i, j, k = (torch.arange(n, dtype=torch.float64) * matrix[row, axis] for axis, n in enumerate(cells.shape))
        plane = (scale * (i[:, None] + j + matrix[row, 3]) - 1).float()
        torch.add(plane[..., None], (scale * k).float(), out=points[0, ..., 2 - row])
    return points


class HeadSampler:
    """Samples volumes of the subject's grid on one acquisition grid, for any position of the head.

    Every acquired voxel is cut into cells about as large as the subject's voxels; each cell is read by one
    linear interpolation, and the mean over the cells is the voxel, so partial volume comes out right.

    Args:
        subject_affine: voxel to world of the subject's grid, head as built.
        subject_shape: its voxels, (3,).
        grid: where to sample.
    """

    def __init__(self, subject_affine: np.ndarray, subject_shape, grid: AcquisitionGrid):
        spacing = np.linalg.norm(subject_affine[:3, :3], axis=0).mean()
        self.grid = grid
        self.cells_per_voxel = tuple(int(n) for n in np.maximum(np.round(grid.voxel_size_mm / spacing), 1))
        self.cells = subdivide(grid, self.cells_per_voxel)
        self._to_voxel = np.linalg.inv(subject_affine)
        self._shape = tuple(subject_shape)

    def read_cells(self, volumes: torch.Tensor, head_to_world: np.ndarray) -> torch.Tensor:
        """Values at the cells.

        Args:
            volumes: (channels, x, y, z) on the subject's grid.
            head_to_world: 4x4 rigid transform from the head as built to the head as it lies.

        Returns:
            (channels, x, y, z) on the cells, 0 outside the subject's grid.
        """
        points = normalised_points(self.cells, self._to_voxel @ np.linalg.inv(head_to_world), self._shape)
        return torch.nn.functional.grid_sample(volumes[None], points, align_corners=True)[0]

    def mean_voxels(self, cells: torch.Tensor) -> torch.Tensor:
        """Mean over the cells of each voxel, (channels, x, y, z)."""
        return torch.nn.functional.avg_pool3d(cells[None], self.cells_per_voxel)[0]

    def read(self, volumes: torch.Tensor, head_to_world: np.ndarray) -> torch.Tensor:
        """Mean of each acquired voxel, (channels, x, y, z); see :meth:`read_cells`."""
        return self.mean_voxels(self.read_cells(volumes, head_to_world))

    def read_array(self, volume: np.ndarray, head_to_world: np.ndarray) -> np.ndarray:
        """One NumPy volume (x, y, z) on the acquisition grid, float32."""
        return self.read(torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None], head_to_world)[
            0
        ].numpy()
