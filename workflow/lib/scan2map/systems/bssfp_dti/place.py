"""Where a voxel lies in the template, and how the way there turns a fibre.

References:
    [1] Alexander et al. 2001, IEEE TMI 20:1131 (finite strain: a tensor turns by the rotation part of the Jacobian).
"""

from __future__ import annotations

import numpy as np
import torch

from scan2map.physics.diffusion import tensor_elements, tensor_matrix
from scan2map.systems.bssfp_dti.channels import template_channels


def template_turns(points_mm: np.ndarray, voxel_size_mm: float, mask: np.ndarray) -> np.ndarray:
    """Rotation from the grid's axes to the template's in every voxel of a mask (n, 3, 3) [1].

    Args:
        points_mm: where each voxel lies in the template (3, x, y, z).
        voxel_size_mm: of the grid.
        mask: boolean (x, y, z).
    """
    jacobian = np.stack([np.stack(np.gradient(axis, voxel_size_mm), axis=-1)[mask] for axis in points_mm], axis=-2)
    left, _, right = np.linalg.svd(jacobian.astype(np.float32))
    return left @ right


def turn_locally(elements: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Symmetric matrices (6, n) turned by a rotation of each voxel (n, 3, 3): R D Rᵀ."""
    return tensor_elements(turns @ tensor_matrix(elements.T) @ np.swapaxes(turns, -1, -2)).T


def place_channels(points_mm: np.ndarray, voxel_size_mm: float, mask: np.ndarray) -> torch.Tensor:
    """Scaled template coordinates of every voxel and, in the brain, the turn to the template's axes (12, x, y, z).

    The rotation matrix follows row by row behind the three coordinates; outside the brain it is 0.

    Args:
        points_mm: where each voxel lies in the template (3, x, y, z).
        voxel_size_mm: of the grid.
        mask: brain, boolean (x, y, z).
    """
    points = np.asarray(points_mm, np.float32)
    turns = np.zeros((9, *mask.shape), np.float32)
    turns[:, mask] = template_turns(points, voxel_size_mm, mask).reshape(-1, 9).T
    return torch.cat([template_channels(torch.from_numpy(points)), torch.from_numpy(turns)])


def turn_place(place: torch.Tensor, turn: np.ndarray) -> torch.Tensor:
    """Places (12, x, y, z) of a patch whose axes were turned: the way to the template's axes begins there, T R."""
    turns = torch.einsum("ijxyz,jk->ikxyz", place[3:].unflatten(0, (3, 3)), torch.as_tensor(turn, dtype=place.dtype))
    return torch.cat([place[:3], turns.flatten(0, 1)])


def flip_place(place: torch.Tensor) -> torch.Tensor:
    """Places (12, x, y, z) of a mirrored patch, in the template mirrored alike: left is right in both axes of T."""
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    signs = torch.cat([mirror, torch.outer(mirror, mirror).flatten()])
    return place * signs.view(12, 1, 1, 1)
