"""How the way from a head to the template turns a fibre.

References:
    [1] Alexander et al. 2001, IEEE TMI 20:1131 (finite strain: a tensor turns by the rotation part of the Jacobian).
"""

from __future__ import annotations

import numpy as np

from scan2map.physics.diffusion import tensor_elements, tensor_matrix


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
