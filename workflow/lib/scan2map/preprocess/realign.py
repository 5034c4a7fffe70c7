"""Rigid realignment of the volumes of one series by least squares (Gauss-Newton, inverse compositional)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.images import Image
from scan2map.preprocess.registration import Transform, apply_transform, rigid_matrix, rigid_parameters

SMOOTHING_FWHM_MM = 6.0
ITERATIONS = 30
# Stop when an update moves no point of the brain by more than about this.
TOLERANCE_MM = 0.003
BRAIN_RADIUS_MM = 50.0  # Power et al. 2012, NeuroImage 59:2142: rotation to displacement
MAX_POINTS = 40_000


class Motion(NamedTuple):
    """Head motion of a series.

    Attributes:
        matrices: (t, 4, 4) world of the reference to world of each volume.
        parameters: (t, 6) translations x, y, z (mm) and rotations about x, y, z (rad) through ``centre_mm``.
        centre_mm: (3,) centre of rotation, world mm.
    """

    matrices: np.ndarray
    parameters: np.ndarray
    centre_mm: np.ndarray

    @property
    def framewise_displacement_mm(self) -> np.ndarray:
        """Sum of the absolute changes from one volume to the next, mm (t,); 0 for the first (Power et al. 2012)."""
        scaled = self.parameters * np.r_[1, 1, 1, BRAIN_RADIUS_MM, BRAIN_RADIUS_MM, BRAIN_RADIUS_MM]
        return np.r_[0.0, np.abs(np.diff(scaled, axis=0)).sum(1)]


def estimate_motion(series: Image, mask: np.ndarray, reference: int = 0) -> Motion:
    """Head position of every volume relative to a reference volume.

    Two rounds: against the reference volume, then against the mean of the volumes that the first round aligned.

    Args:
        series: (x, y, z, t) volumes of one contrast.
        mask: brain, (x, y, z).
        reference: the volume that stays in place.
    """
    smooth = _smoothed(series)
    centre = _centre(mask, series.affine)
    matrices = np.stack([np.eye(4)] * smooth.data.shape[3])
    target = smooth.data[..., reference]
    for _ in range(2):
        problem = _Problem(Image(target, smooth.affine), mask, centre)
        matrices = np.stack([problem.solve(smooth.data[..., n], start) for n, start in enumerate(matrices)])
        matrices = matrices @ np.linalg.inv(matrices[reference])
        target = resample_series(smooth, matrices, "linear").mean(-1)
    return motion_of(matrices, centre)


def motion_of(matrices: np.ndarray, centre_mm: np.ndarray) -> Motion:
    """Motion from its matrices."""
    parameters = [np.concatenate(rigid_parameters(matrix, centre_mm)) for matrix in matrices]
    return Motion(np.asarray(matrices), np.stack(parameters), np.asarray(centre_mm))


def without_pattern(motion: Motion, pattern: np.ndarray) -> Motion:
    """Motion without the part that follows a pattern over the volumes.

    Control and label images differ a little; an estimate takes that for a movement to and fro at every volume.

    Args:
        motion: as estimated.
        pattern: (t,) for example +1 for control and −1 for label.

    Source: Wang 2012, Magn Reson Imaging 30:1409.
    """
    regressor = pattern - pattern.mean()
    if not regressor.any():
        return motion
    share = regressor @ motion.parameters / (regressor @ regressor)
    cleaned = motion.parameters - regressor[:, None] * share
    matrices = np.stack([rigid_matrix(row[:3], row[3:], motion.centre_mm) for row in cleaned])
    return Motion(matrices, cleaned, motion.centre_mm)


def resample_series(series: Image, matrices: np.ndarray, interpolation: str = "cubic") -> np.ndarray:
    """Every volume on the grid of the reference, (x, y, z, t)."""
    grid = Image(series.data[..., 0], series.affine)
    moved = [
        apply_transform(Image(series.data[..., n], series.affine), grid, Transform(matrix), interpolation).data
        for n, matrix in enumerate(matrices)
    ]
    return np.stack(moved, axis=-1)


class _Problem:
    """Least-squares registration of volumes to one target: value(T x) ≈ scale · target(x) at points of the mask."""

    def __init__(self, target: Image, mask: np.ndarray, centre: np.ndarray):
        affine = target.affine
        voxels = np.argwhere(_without_end_slices(mask))
        voxels = voxels[:: max(1, len(voxels) // MAX_POINTS)]
        self.centre, self.to_voxel = centre, np.linalg.inv(affine)
        self.world = voxels @ affine[:3, :3].T + affine[:3, 3]
        index = tuple(voxels.T)
        slope = np.stack([part[index] for part in np.gradient(target.data)], axis=-1) @ self.to_voxel[:3, :3]
        turn = np.cross(self.world - centre, slope)
        self.values = target.data[index]
        self.jacobian = np.concatenate([slope, turn], axis=1)

    def solve(self, volume: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """World of the target to world of the volume, from a start."""
        columns = np.concatenate([self.jacobian, self.values[:, None]], axis=1)
        normal = columns.T @ columns
        for _ in range(ITERATIONS):
            sampled = self._sample(volume, matrix)
            scale = sampled @ self.values / (self.values @ self.values)
            step = np.linalg.solve(normal, columns.T @ (sampled / scale - self.values))[:6]
            matrix = matrix @ rigid_matrix(-step[:3], -step[3:], self.centre)
            if np.abs(step * np.r_[1, 1, 1, [BRAIN_RADIUS_MM] * 3]).max() < TOLERANCE_MM:
                break
        return matrix

    def _sample(self, volume: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        together = self.to_voxel @ matrix
        voxels = together[:3, :3] @ self.world.T + together[:3, 3:]
        return map_coordinates(volume, voxels, order=1, mode="nearest")


def _smoothed(series: Image) -> Image:
    from scipy.ndimage import gaussian_filter

    sigma = SMOOTHING_FWHM_MM / 2.3548 / series.voxel_size_mm
    return Image(gaussian_filter(series.data.astype(np.float32), (*sigma, 0)), series.affine)


def _centre(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0) @ affine[:3, :3].T + affine[:3, 3]


def _without_end_slices(mask: np.ndarray) -> np.ndarray:
    """The mask without its outer slices, which move out of the field of view, if enough is left."""
    inner = mask.copy()
    inner[..., [0, -1]] = False
    return inner if inner.sum() > mask.sum() / 2 else mask
