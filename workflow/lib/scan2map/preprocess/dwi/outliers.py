"""Slices that lost signal because the head moved during the diffusion gradient: found, and replaced.

A slice is an outlier when its mean residual against the prediction is far below that of the same slice in the other
volumes (Andersson et al. 2016, NeuroImage 141:556).
"""

from __future__ import annotations

import numpy as np
import torch

from scan2map.preprocess.dwi.eddy import centred_mm, eddy_field
from scan2map.preprocess.dwi.interpolation import sample, spline_coefficients
from scan2map.preprocess.dwi.motion import Motion, Scan
from scan2map.preprocess.dwi.phase_encoding import phase_axis
from scan2map.preprocess.dwi.resample import displaced_coordinates, voxel_grid, voxel_motion

SLICE_AXIS = 2
# A slice is judged by at least this share of the mean number of voxels per slice, and by five volumes or more.
MIN_SHARE = 0.2
MIN_VOLUMES = 5
SD_PER_MAD = 1.4826
INVERSION_STEPS = 8


def slice_sums(residual: torch.Tensor, slices: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean residual and number of voxels per slice.

    Args:
        residual: (t, n).
        slices: (t, n) slice number of every point in its own volume.
        count: number of slices.

    Returns:
        Means and numbers, (t, count); mean 0 where there is no voxel.
    """
    inside = (slices >= 0) & (slices < count)
    index = slices.clamp(0, count - 1).long()
    total = torch.zeros(len(residual), count, dtype=torch.float64, device=residual.device)
    voxels = total.clone()
    total.scatter_add_(1, index, torch.where(inside, residual, 0).double())
    voxels.scatter_add_(1, index, inside.double())
    return (total / voxels.clamp(min=1)).cpu().numpy(), voxels.cpu().numpy()


def slice_scores(mean: np.ndarray, voxels: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """How many robust standard deviations each slice's mean residual lies from its shell's median for that slice.

    Args:
        mean, voxels: (t, slices) of :func:`slice_sums`.
        shells: (t,) shell of each volume.

    Returns:
        (t, slices); 0 where a slice has too few voxels, or its shell too few volumes, to be judged.
    """
    scores = np.zeros_like(mean)
    judged = voxels >= MIN_SHARE * voxels[voxels > 0].mean() if (voxels > 0).any() else voxels > 0
    for shell in np.unique(shells[shells > 0]):
        members = shells == shell
        if members.sum() < MIN_VOLUMES:
            continue
        deviation = mean[members] - np.median(mean[members], axis=0)
        spread = np.median(np.abs(deviation), axis=0)
        typical = np.median(spread[judged[members].all(axis=0)]) if judged[members].all(axis=0).any() else 0.0
        scale = SD_PER_MAD * np.maximum(spread, typical)
        scores[members] = deviation / np.where(scale > 0, scale, np.inf)
    return np.where(judged, scores, 0.0)


def find_outliers(scores: np.ndarray, threshold_sd: float) -> np.ndarray:
    """(t, slices) True where signal was lost; more signal than predicted is no outlier."""
    return scores < -threshold_sd


def worst_of_neighbours(outliers: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(t, slices) True for outliers that no neighbouring outlier of their volume undercuts."""
    depth = np.pad(np.where(outliers, scores, 0.0), ((0, 0), (1, 1)))
    return outliers & (depth[:, 1:-1] <= depth[:, :-2]) & (depth[:, 1:-1] <= depth[:, 2:])


def at_points(outliers: np.ndarray, slices: torch.Tensor) -> torch.Tensor:
    """(t, n) True where a point lies in an outlier slice of its volume."""
    table = torch.as_tensor(outliers, device=slices.device)
    inside = (slices >= 0) & (slices < table.shape[1])
    return torch.gather(table, 1, slices.clamp(0, table.shape[1] - 1).long()) & inside


def scanner_prediction(scan: Scan, motion: Motion, index: int, prediction: torch.Tensor) -> torch.Tensor:
    """A predicted volume of the reference grid as the scanner would have measured it: moved, distorted, unmodulated.

    The map from reference to scanner is inverted by fixed-point iteration along the phase-encoding axis.
    """
    axis, sign = phase_axis(scan.phase_encoding[index])
    scale = sign * scan.readout_time_s[index]
    forward = voxel_motion(motion.rigid[index], scan.affine)
    matrix, inverse = (torch.as_tensor(value).to(prediction) for value in (forward, np.linalg.inv(forward)))
    scanner = voxel_grid(scan.shape).to(prediction).reshape(3, -1)
    moved = scanner.clone()
    field = spline_coefficients(scan.field_hz)
    for _ in range(INVERSION_STEPS):
        reference = inverse[:3, :3] @ moved + inverse[:3, 3:]
        position = centred_mm(moved, scan.shape, scan.voxel_size_mm)
        moved = scanner.clone()
        moved[axis] -= scale * (sample(field, reference) + eddy_field(motion.eddy[index], position))
    reference = inverse[:3, :3] @ moved + inverse[:3, 3:]
    grid = (matrix[:3, :3] @ voxel_grid(scan.shape).to(prediction).reshape(3, -1)) + matrix[:3, 3:]
    eddy = eddy_field(motion.eddy[index], centred_mm(grid, scan.shape, scan.voxel_size_mm)).reshape(scan.shape)
    _, jacobian = displaced_coordinates(
        scan.field_hz + eddy, scan.phase_encoding[index], scan.readout_time_s[index], forward
    )
    unmodulated = prediction / jacobian.abs().clamp(min=0.1)
    return sample(spline_coefficients(unmodulated), reference).reshape(scan.shape)


def replace_slices(
    scan: Scan, motion: Motion, index: int, slices: np.ndarray, prediction: torch.Tensor
) -> torch.Tensor:
    """A measured volume with some slices replaced by their prediction.

    Args:
        scan, motion: the series and its motion.
        index: number of the volume.
        slices: boolean per slice.
        prediction: (x, y, z) predicted volume on the reference grid.
    """
    measured = scan.volumes[index].clone()
    expected = scanner_prediction(scan, motion, index, prediction)
    chosen = torch.as_tensor(np.flatnonzero(slices), device=measured.device)
    measured[:, :, chosen] = expected[:, :, chosen]
    return measured
