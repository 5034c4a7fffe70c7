"""Geometry of echo-planar imaging: shift along the phase encoding, and pile-up, from an off-resonance field.

Convention (BIDS, TOPUP): signal of true position y (voxels along the phase-encoding axis) appears at
y + s · f · TotalReadoutTime, s = +1 for ``j`` and −1 for ``j-``, f in Hz.

Reference:
    Jezzard, Balaban, Magn Reson Med 34:65 (1995); Andersson, Skare, Ashburner, NeuroImage 20:870 (2003).
"""

from __future__ import annotations

import torch

from scan2map.errors import SettingError

POLARITY = {"j": 1.0, "j-": -1.0}


def displacement_voxels(field_hz, total_readout_time_s: float, phase_encoding: str):
    """Displacement along the phase-encoding axis, voxels.

    Args:
        field_hz: off-resonance, Hz.
        total_readout_time_s: FSL's and BIDS' TotalReadoutTime, s.
        phase_encoding: ``j`` or ``j-``.

    Raises:
        SettingError: another phase-encoding direction.
    """
    if phase_encoding not in POLARITY:
        raise SettingError("Unknown phase-encoding direction", found=phase_encoding, allowed="j, j-")
    return POLARITY[phase_encoding] * total_readout_time_s * field_hz


def _cell_edges(values: torch.Tensor) -> torch.Tensor:
    """Values at the n + 1 edges of n cells: means of neighbours, constant beyond the ends."""
    inner = (values[..., 1:] + values[..., :-1]) / 2
    return torch.cat([values[..., :1], inner, values[..., -1:]], -1)


def _interpolate_rows(x: torch.Tensor, y: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of each row's non-decreasing x → y at the same targets; constant beyond the ends."""
    targets = targets.expand(*x.shape[:-1], -1).contiguous()
    right = torch.searchsorted(x, targets).clamp(1, x.shape[-1] - 1)
    x0, x1 = x.gather(-1, right - 1), x.gather(-1, right)
    y0, y1 = y.gather(-1, right - 1), y.gather(-1, right)
    weight = ((targets - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)
    return y0 + weight * (y1 - y0)


def shift_and_stack(density: torch.Tensor, shift: torch.Tensor, factor: int = 1) -> torch.Tensor:
    """Move signal along the last axis and integrate it over voxels: distortion with its intensity change.

    Each cell is carried to its shifted interval and its signal is kept, so compression piles signal up and stretching
    thins it (the Jacobian), and the sum is conserved but for what leaves the field of view. Where the field folds
    the image, the signal of the fold lands at its outer edge.

    Args:
        density: (..., n) signal per cell.
        shift: (..., n) displacement of each cell, in cells.
        factor: cells per voxel of the result.

    Returns:
        (..., n // factor) mean signal of each voxel.
    """
    cells = density.shape[-1]
    edges = torch.arange(cells + 1, dtype=density.dtype)
    position = torch.cummax(edges + _cell_edges(shift), -1).values
    mass = torch.cat([torch.zeros_like(density[..., :1]), density.cumsum(-1)], -1)
    collected = _interpolate_rows(position, mass, edges[::factor])
    return collected.diff(dim=-1) / factor
