"""The one thing that opposed images cannot tell: a constant field.

A constant field c moves image i by s_i T_i c along its phase encoding u_i, just as a translation of the head would.
With x the position of a point when the field is taken as f, and x' when it is taken as f - c,

    x' = x + s_1 T_1 c u_1,    M_i' = translation(s_i T_i c u_i) M_i translation(-s_1 T_1 c u_1)

give the same images (image 1 is the reference, M_i the motion in voxels). So something outside the images has to
settle c: that the head kept still along the phase encoding, or that the scanner was shimmed.
"""

from __future__ import annotations

import numpy as np
import torch

from scan2map.preprocess.dwi.epi_model import Acquisition
from scan2map.preprocess.dwi.interpolation import sample, spline_coefficients
from scan2map.preprocess.dwi.phase_encoding import phase_axis
from scan2map.preprocess.dwi.resample import voxel_grid


def _shift_matrix(acquisition: Acquisition, index: int, constant: float) -> np.ndarray:
    """Voxel translation of an image by a constant field (voxels at the reference readout time), 4x4."""
    axis, _ = phase_axis(acquisition.directions[index])
    matrix = np.eye(4)
    matrix[axis, 3] = acquisition.shift_per_field(index) * constant
    return matrix


def without_constant(
    field: torch.Tensor, motion: np.ndarray, acquisition: Acquisition, constant: float
) -> tuple[torch.Tensor, np.ndarray]:
    """The same images explained by a field that is smaller by a constant.

    Args:
        field: in voxels at the reference readout time, shape (x, y, z).
        motion: world matrices (n, 4, 4) from the reference to each image.
        acquisition: how the images were encoded.
        constant: to be taken from the field, same unit.

    Returns:
        The field on the grid of the new reference position, and the new motion.
    """
    affine, inverse = acquisition.affine, np.linalg.inv(acquisition.affine)
    back = np.linalg.inv(_shift_matrix(acquisition, 0, constant))
    shifts = [_shift_matrix(acquisition, index, constant) for index in range(len(motion))]
    moved = [
        affine @ shift @ inverse @ matrix @ affine @ back @ inverse
        for shift, matrix in zip(shifts, motion, strict=True)
    ]
    grid = voxel_grid(field.shape, dtype=field.dtype, device=field.device)
    points = grid + torch.as_tensor(back[:3, 3]).to(field).reshape(3, 1, 1, 1)
    return sample(spline_coefficients(field), points) - constant, np.stack(moved)
