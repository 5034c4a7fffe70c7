"""Repeated b0 volumes of one acquisition: brought to the head position of the first and averaged."""

from __future__ import annotations

import numpy as np
import torch

from scan2map.preprocess.dwi.epi_model import blurred_coefficients, motion_matrix, rigid_derivatives
from scan2map.preprocess.dwi.interpolation import inside_volume, sample
from scan2map.preprocess.dwi.resample import voxel_grid, voxel_motion
from scan2map.preprocess.dwi.rigid import grid_centre_mm

SCHEDULE_MM = ((8.0, 8.0), (4.0, 4.0))  # blur (FWHM) and sample spacing of each level
ITERATIONS = 8
SMALLEST_STEP_MM = 1e-3


def align_rigidly(moving: torch.Tensor, reference: torch.Tensor, affine: np.ndarray) -> np.ndarray:
    """Rigid motion that brings one volume onto another of the same contrast, by Gauss-Newton on their difference.

    Args:
        moving: (x, y, z).
        reference: same shape.
        affine: voxel-to-world affine of both.

    Returns:
        World matrix (4x4, mm) from the reference position to that of the moving volume.
    """
    centre, motion = grid_centre_mm(moving.shape, affine), np.zeros(6)
    for blur_mm, spacing_mm in SCHEDULE_MM:
        motion = _align_level(moving, reference, affine, centre, motion, blur_mm, spacing_mm)
    return motion_matrix(motion, centre)


def _align_level(moving, reference, affine, centre, motion, blur_mm, spacing_mm) -> np.ndarray:
    size = np.linalg.norm(affine[:3, :3], axis=0)
    strides = np.maximum(spacing_mm // size, 1).astype(int)
    points = voxel_grid(moving.shape, dtype=moving.dtype, device=moving.device)
    points = points[:, :: strides[0], :: strides[1], :: strides[2]].reshape(3, -1)
    volume = blurred_coefficients(moving, blur_mm / size)
    target = sample(blurred_coefficients(reference, blur_mm / size), points)

    def place(parameters):
        return voxel_motion(motion_matrix(parameters, centre), affine)

    for _ in range(ITERATIONS):
        matrix = torch.as_tensor(place(motion)).to(points)
        moved = matrix[:3, :3] @ points + matrix[:3, 3:]
        value, slope = sample(volume, moved, gradient=True)
        seen = inside_volume(moved, moving.shape)
        value, slope = value * seen, slope * seen
        scale = (value * target).sum() / value.square().sum()
        parts = rigid_derivatives(place, motion, points, slope * scale)
        step = torch.linalg.solve(parts @ parts.T, parts @ ((target * seen) - value * scale))
        motion = motion + step.double().cpu().numpy()
        if float(step.abs().max()) < SMALLEST_STEP_MM:
            break
    return motion


def align_groups(volumes: torch.Tensor, affine: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rigid motion of every volume from the first volume of its acquisition, world matrices (n, 4, 4)."""
    matrices = np.tile(np.eye(4), (len(volumes), 1, 1))
    for index, group in enumerate(groups):
        first = int(np.flatnonzero(groups == group)[0])
        if index != first:
            matrices[index] = align_rigidly(volumes[index], volumes[first], affine)
    return matrices


def group_means(volumes: torch.Tensor, groups: np.ndarray) -> torch.Tensor:
    """Mean volume of each acquisition, shape (groups, x, y, z)."""
    chosen = [torch.as_tensor(groups == group, device=volumes.device) for group in range(groups.max() + 1)]
    return torch.stack([volumes[mask].mean(0) for mask in chosen])
