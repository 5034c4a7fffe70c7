"""One volume under head motion and eddy currents: its corrected values, their derivatives, one Gauss-Newton step.

Everything is evaluated at a subset of brain voxels of the reference grid, never on whole volumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from scan2map.preprocess.dwi.eddy import TERMS, centred_mm, eddy_basis, eddy_basis_slope, eddy_field
from scan2map.preprocess.dwi.gradients import GradientTable
from scan2map.preprocess.dwi.interpolation import sample
from scan2map.preprocess.dwi.phase_encoding import phase_axis
from scan2map.preprocess.dwi.resample import gradient, voxel_grid, voxel_motion
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix

RIGID = 6  # rigid parameters come before eddy-current terms


@dataclass(frozen=True)
class Scan:
    """A measured diffusion series.

    Attributes:
        volumes: (t, x, y, z) on the device that computes.
        affine: voxel to world, 4x4.
        gradients: table of the t volumes.
        phase_encoding, readout_time_s: per volume.
        field_hz: (x, y, z) susceptibility field in the reference head position.
    """

    volumes: torch.Tensor
    affine: np.ndarray
    gradients: GradientTable
    phase_encoding: tuple[str, ...]
    readout_time_s: tuple[float, ...]
    field_hz: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the grid."""
        return tuple(self.volumes.shape[1:])

    @property
    def voxel_size_mm(self) -> np.ndarray:
        """Edge lengths of a voxel, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


@dataclass(frozen=True)
class Motion:
    """Where every volume was.

    Attributes:
        rigid: (t, 4, 4) world motion (mm) from the reference head position to that of each volume.
        eddy: (t, 10) coefficients of :data:`scan2map.preprocess.dwi.eddy.TERMS`.
    """

    rigid: np.ndarray
    eddy: np.ndarray

    @classmethod
    def none(cls, volumes: int) -> Motion:
        """No motion and no eddy currents."""
        return cls(np.tile(np.eye(4), (volumes, 1, 1)), np.zeros((volumes, len(TERMS))))


class Points(NamedTuple):
    """Brain voxels of the reference grid that take part in the estimation.

    Attributes:
        voxels: (3, n) voxel coordinates.
        field_hz: (n,) susceptibility field.
        field_slope: (3, n) its gradient per voxel.
    """

    voxels: torch.Tensor
    field_hz: torch.Tensor
    field_slope: torch.Tensor


class Sampled(NamedTuple):
    """A volume at n points: corrected values and what Gauss-Newton needs.

    Attributes:
        value: (n,) corrected intensity.
        slope: (3, n) gradient of the measured volume where the points are found, per voxel.
        jacobian: (n,) volume change.
        moved: (3, n) voxel coordinates after head motion, before distortion.
        position: (3, n) the same in mm from the centre of the grid.
    """

    value: torch.Tensor
    slope: torch.Tensor
    jacobian: torch.Tensor
    moved: torch.Tensor
    position: torch.Tensor


def choose_points(scan: Scan, mask: np.ndarray, most: int, seed: int) -> Points:
    """A random subset of mask voxels (the same for the same seed)."""
    voxels = np.argwhere(mask)
    if len(voxels) > most:
        voxels = voxels[np.sort(np.random.default_rng(seed).choice(len(voxels), most, replace=False))]
    index = torch.as_tensor(voxels.T, device=scan.volumes.device)
    slope = gradient(scan.field_hz)[:, index[0], index[1], index[2]]
    return Points(index.to(scan.volumes), scan.field_hz[index[0], index[1], index[2]], slope)


def sample_volume(scan: Scan, points: Points, coefficients: torch.Tensor, index: int, motion: Motion) -> Sampled:
    """One volume, corrected by its motion, at the points.

    Args:
        scan: the series.
        points: where it is evaluated.
        coefficients: B-spline coefficients of the (smoothed) volume.
        index: number of the volume.
        motion: motion of all volumes.
    """
    axis, sign = phase_axis(scan.phase_encoding[index])
    scale = sign * scan.readout_time_s[index]
    matrix = torch.as_tensor(voxel_motion(motion.rigid[index], scan.affine)).to(points.voxels)
    moved = matrix[:3, :3] @ points.voxels + matrix[:3, 3:]
    position = centred_mm(moved, scan.shape, scan.voxel_size_mm)
    eddy = torch.as_tensor(motion.eddy[index]).to(points.voxels)
    found = moved.clone()
    found[axis] += scale * (points.field_hz + eddy @ eddy_basis(position))
    along = torch.linalg.inv(matrix[:3, :3])[:, axis]
    eddy_slope = eddy @ eddy_basis_slope(position, axis) * float(scan.voxel_size_mm[axis])
    jacobian = 1 + scale * (along @ points.field_slope + eddy_slope)
    value, slope = sample(coefficients, found, order=3, gradient=True)
    return Sampled(value * jacobian, slope, jacobian, moved, position)


def parameter_slopes(scan: Scan, sampled: Sampled, index: int, free_eddy: int) -> torch.Tensor:
    """Change of the corrected values per parameter: three translations (mm), three rotations (rad), eddy terms.

    Returns:
        (6 + free_eddy, n).
    """
    axis, sign = phase_axis(scan.phase_encoding[index])
    scale = sign * scan.readout_time_s[index]
    affine = torch.as_tensor(scan.affine).to(sampled.value)
    per_mm = torch.linalg.inv(affine[:3, :3]).T @ sampled.slope * sampled.jacobian
    centre = torch.as_tensor(grid_centre_mm(scan.shape, scan.affine)).to(sampled.value)
    arm = affine[:3, :3] @ sampled.moved + affine[:3, 3:] - centre[:, None]
    rows = [per_mm, torch.linalg.cross(arm, per_mm, dim=0)]
    if free_eddy:
        stretch = eddy_basis_slope(sampled.position, axis)[:free_eddy] * float(scan.voxel_size_mm[axis])
        shift = eddy_basis(sampled.position)[:free_eddy] * sampled.slope[axis] * sampled.jacobian
        rows.append(scale * (shift + stretch * sampled.value / sampled.jacobian))
    return torch.cat(rows)


class NormalSystem(NamedTuple):
    """Least-squares system of the parameters of one volume: ``matrix`` (p, p) times change = ``right`` (p,)."""

    matrix: np.ndarray
    right: np.ndarray

    def solve(self) -> np.ndarray:
        """The change of all parameters that explains the residual best, (p,)."""
        return _solve_scaled(self.matrix, self.right)

    def rigid_change(self, eddy_change: np.ndarray) -> np.ndarray:
        """The change of the rigid parameters that best makes up for a change of the eddy-current terms, (6,).

        Shift along the phase encoding and quadratic terms explain each other in part: where one is changed, the other
        has to follow.
        """
        rigid, eddy = slice(RIGID), slice(RIGID, RIGID + len(eddy_change))
        return _solve_scaled(self.matrix[rigid, rigid], -self.matrix[rigid, eddy] @ eddy_change)


def _solve_scaled(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve for unknowns of different scale, held lightly where they have no effect."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    return scale * np.linalg.solve(matrix * scale * scale[:, None] + 1e-9 * np.eye(len(matrix)), scale * right)


def normal_system(slopes: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | float = 1.0) -> NormalSystem:
    """Least-squares system that explains a residual (n,) by slopes (p, n) at weights (n,)."""
    weighted = (slopes * weight).double()
    matrix, right = weighted @ slopes.double().T, weighted @ residual.double()
    return NormalSystem(matrix.cpu().numpy(), right.cpu().numpy())


def moved_by(motion: Motion, index: int, change: np.ndarray, centre_mm: np.ndarray) -> Motion:
    """The motion with one volume's parameters changed."""
    rigid, eddy = motion.rigid.copy(), motion.eddy.copy()
    rigid[index] = rigid_matrix(change[:RIGID], centre_mm) @ rigid[index]
    eddy[index, : len(change) - RIGID] += change[RIGID:]
    return Motion(rigid, eddy)


def eddy_on_grid(scan: Scan, motion: Motion, index: int) -> torch.Tensor:
    """Eddy-current field of one volume at the voxels of the reference grid (where they are in the scanner), Hz."""
    matrix = torch.as_tensor(voxel_motion(motion.rigid[index], scan.affine)).to(scan.volumes)
    grid = voxel_grid(scan.shape, dtype=scan.volumes.dtype, device=scan.volumes.device).reshape(3, -1)
    moved = matrix[:3, :3] @ grid + matrix[:3, 3:]
    position = centred_mm(moved, scan.shape, scan.voxel_size_mm)
    return eddy_field(motion.eddy[index], position).reshape(scan.shape)
