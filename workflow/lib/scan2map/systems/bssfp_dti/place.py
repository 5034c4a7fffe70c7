"""Where a voxel lies in the brain and in the template, and how the way there turns a fibre.

References:
    [1] Alexander et al. 2001, IEEE TMI 20:1131 (finite strain: a tensor turns by the rotation part of the Jacobian).
"""

from __future__ import annotations

import numpy as np
import torch

from scan2map.physics.diffusion import tensor_elements, tensor_matrix

# Brain offsets are scaled to −1 to 1 by this many standard deviations of the brain's voxels (an ellipsoid ends at √5).
BRAIN_EXTENT_SD = 2.5


def brain_offsets(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset of every voxel from the middle of the brain (3, x, y, z), and the brain's extent along each axis, voxels.

    Middle and extent are mean and standard deviation of the brain's voxels: no registration, an error of the mask's
    edge moves them little.

    Args:
        mask: brain (x, y, z).
    """
    voxels = np.argwhere(mask > 0)
    centre, extent = voxels.mean(0), BRAIN_EXTENT_SD * voxels.std(0)
    offsets = np.indices(mask.shape).astype(np.float32) - centre.astype(np.float32)[:, None, None, None]
    return offsets, extent.astype(np.float32)


def scaled_place(offsets: torch.Tensor, extent: np.ndarray) -> torch.Tensor:
    """Offsets (3, x, y, z) in units of the brain's extent, about −1 to 1."""
    return offsets / torch.as_tensor(extent).view(3, 1, 1, 1)


def template_turns(points_mm: np.ndarray, voxel_size_mm: float) -> np.ndarray:
    """Rotation from the grid's axes to the template's in every voxel (x, y, z, 3, 3) [1].

    Args:
        points_mm: where each voxel lies in the template (3, x, y, z).
        voxel_size_mm: of the grid.
    """
    jacobian = np.stack([np.stack(np.gradient(axis, voxel_size_mm), axis=-1) for axis in points_mm], axis=-2)
    left, _, right = np.linalg.svd(jacobian.astype(np.float32))
    return left @ right


def turn_locally(elements: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Symmetric matrices (6, x, y, z) turned by a rotation of each voxel (x, y, z, 3, 3): R D Rᵀ."""
    matrices = tensor_matrix(np.moveaxis(elements, 0, -1))
    return np.moveaxis(tensor_elements(turns @ matrices @ np.swapaxes(turns, -1, -2)), -1, 0)
