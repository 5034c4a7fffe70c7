"""One interpolation for everything: head motion, susceptibility and eddy currents applied in a single resampling.

A point x of the head in its reference position is found in volume i at

    y_i(x) = x_i + s T (f(x) + e_i(x)) u,    x_i = R_i x,

with the rigid motion R_i (world, mm), the off-resonance field f (Hz, fixed to the head), the eddy-current field
e_i (Hz), the total readout time T (s) and the phase-encoding voxel axis u with its sign s (+1 for ``j``, -1 for
``j-``). The corrected intensity is I_i(y_i(x)) |det dy_i/dx|, where det dy_i/dx = 1 + s T grad(f + e_i) . R_i^-1 u
(Jacobian modulation; Jezzard and Balaban 1995, Magn Reson Med 34:65; Andersson et al. 2003, NeuroImage 20:870).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from scan2map.errors import DataError
from scan2map.preprocess.dwi.interpolation import along_axis, inside_volume, sample, spline_coefficients
from scan2map.preprocess.dwi.phase_encoding import check_readout_time, phase_axis


def voxel_grid(shape, *, dtype=torch.float32, device="cpu") -> torch.Tensor:
    """Voxel coordinates of every voxel of a grid, shape (3, x, y, z)."""
    axes = [torch.arange(length, dtype=dtype, device=device) for length in shape[:3]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def voxel_motion(rigid: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A rigid world motion (4x4, mm) as a map between voxel coordinates of one grid, 4x4."""
    return np.linalg.inv(affine) @ np.asarray(rigid, dtype=float) @ affine


@lru_cache(maxsize=64)
def slope_matrix(length: int) -> np.ndarray:
    """Matrix from samples on a line to the slopes of the cubic spline through them; exact for cubic polynomials."""
    from scipy.interpolate import CubicSpline

    if length < 2:
        return np.zeros((length, length))
    places = np.arange(length)
    return CubicSpline(places, np.eye(length), bc_type="not-a-knot")(places, 1)


def gradient(field: torch.Tensor) -> torch.Tensor:
    """Spatial gradient of a volume per voxel, of the cubic spline through its voxels; shape (3, x, y, z).

    Central differences would see only sin(k)/k of a ripple of k radians per voxel, so that the intensity would not
    follow a displacement that the spline field does make.
    """
    slopes = []
    for axis in range(3):
        matrix = torch.as_tensor(slope_matrix(field.shape[axis]), dtype=field.dtype, device=field.device)
        slopes.append(along_axis(matrix, field, axis))
    return torch.stack(slopes)


def displaced_coordinates(shift_hz: torch.Tensor, phase_encoding: str, readout_time_s: float, motion: np.ndarray):
    """Where each voxel of the reference grid is found in a distorted, moved volume, and the Jacobian there.

    Args:
        shift_hz: total off-resonance at each reference voxel, Hz, shape (x, y, z).
        phase_encoding: BIDS direction of the volume.
        readout_time_s: its total readout time.
        motion: voxel-to-voxel motion (4x4) from :func:`voxel_motion`.

    Returns:
        Coordinates in the volume, shape (3, x, y, z), and Jacobian determinant, shape (x, y, z).
    """
    axis, sign = phase_axis(phase_encoding)
    matrix = torch.as_tensor(motion, dtype=shift_hz.dtype, device=shift_hz.device)
    grid = voxel_grid(shift_hz.shape, dtype=shift_hz.dtype, device=shift_hz.device)
    coordinates = torch.tensordot(matrix[:3, :3], grid, dims=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
    scale = sign * readout_time_s
    coordinates[axis] += scale * shift_hz
    direction = torch.linalg.inv(matrix[:3, :3])[:, axis]
    jacobian = 1 + scale * torch.tensordot(direction, gradient(shift_hz), dims=1)
    return coordinates, jacobian


def _per_volume(value, count: int, name: str) -> list:
    """One entry per volume from one value for all or a sequence."""
    if isinstance(value, str) or np.isscalar(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise DataError(f"{name} does not have one value per volume", found=len(values), allowed=count)
    return values


def _matrices(rigid, count: int) -> np.ndarray:
    rigid = np.eye(4) if rigid is None else np.asarray(rigid, dtype=float)
    return np.broadcast_to(rigid, (count, 4, 4))


def resample_volumes(
    volumes: np.ndarray | torch.Tensor,
    affine: np.ndarray,
    *,
    field_hz: np.ndarray | torch.Tensor | None,
    phase_encoding: str | Sequence[str],
    readout_time_s: float | Sequence[float],
    rigid: np.ndarray | None = None,
    eddy_hz: np.ndarray | torch.Tensor | None = None,
    jacobian: bool = True,
    order: int = 3,
    outside: str = "edge",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Volumes as they would be without head motion, susceptibility and eddy-current distortion; one interpolation.

    Args:
        volumes: measured volumes on one grid, shape (n, x, y, z).
        affine: voxel-to-world affine of that grid (and of the result).
        field_hz: susceptibility field in the reference head position, Hz, shape (x, y, z); None for no field.
        phase_encoding: BIDS direction, one for all or one per volume.
        readout_time_s: total readout time, one for all or one per volume.
        rigid: world motion (mm) from the reference head position to that of each volume, shape (4, 4) or
            (n, 4, 4), see :mod:`scan2map.preprocess.dwi.rigid`; None for no motion.
        eddy_hz: further off-resonance of each volume at the voxels of the result, Hz, shape (n, x, y, z).
        jacobian: modulate the intensity by the volume change.
        order: 1 (trilinear) or 3 (cubic B-spline).
        outside: ``edge`` repeats the volume's edge beyond its field of view, ``zero`` writes zeros there.
        device: torch device on which it runs.
        dtype: precision.

    Returns:
        Corrected volumes on the device, shape (n, x, y, z).

    Raises:
        DataError: unknown direction, unusable readout time, or a wrong number of values.
    """
    volumes = torch.as_tensor(volumes, dtype=dtype, device=device)
    count = len(volumes)
    directions = _per_volume(phase_encoding, count, "phase_encoding")
    times = [check_readout_time(time) for time in _per_volume(readout_time_s, count, "readout_time_s")]
    matrices = _matrices(rigid, count)
    field = volumes.new_zeros(volumes.shape[1:]) if field_hz is None else torch.as_tensor(field_hz).to(volumes)
    corrected = torch.empty_like(volumes)
    for index, volume in enumerate(volumes):
        shift = field if eddy_hz is None else field + torch.as_tensor(eddy_hz[index]).to(volumes)
        motion = voxel_motion(matrices[index], affine)
        points, determinant = displaced_coordinates(shift, directions[index], times[index], motion)
        result = sample(spline_coefficients(volume) if order == 3 else volume, points, order=order)
        if jacobian:
            result = result * determinant.abs()
        if outside == "zero":
            result = result * inside_volume(points, volume.shape)
        corrected[index] = result
    return corrected


def resample_volume(volume: np.ndarray, affine: np.ndarray, **options) -> np.ndarray:
    """One volume (x, y, z) through :func:`resample_volumes`, as a NumPy array; the same options."""
    return resample_volumes(np.asarray(volume)[None], affine, **options)[0].cpu().numpy()
