"""Rigid head motion: six parameters and their 4x4 matrix, in world millimetres.

Parameters: three translations (mm) along the world axes x, y, z (RAS+), then three rotations (rad) about axes
through a centre, R = Rx Ry Rz. The matrix maps a point of the head in the reference position to where that point
is during the volume.
"""

from __future__ import annotations

import numpy as np


def grid_centre_mm(shape, affine: np.ndarray) -> np.ndarray:
    """World position of the middle of a grid, mm, shape (3,): the centre of rotation."""
    middle = (np.asarray(shape[:3], dtype=float) - 1) / 2
    return affine[:3, :3] @ middle + affine[:3, 3]


def _rotation(axis: int, angle_rad: float) -> np.ndarray:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    matrix = np.eye(3)
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def rigid_matrix(parameters, centre_mm) -> np.ndarray:
    """The 4x4 world matrix of six rigid parameters (mm, rad) about a centre (mm)."""
    parameters, centre_mm = np.asarray(parameters, dtype=float), np.asarray(centre_mm, dtype=float)
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(0, parameters[3]) @ _rotation(1, parameters[4]) @ _rotation(2, parameters[5])
    matrix[:3, 3] = centre_mm + parameters[:3] - matrix[:3, :3] @ centre_mm
    return matrix


def rigid_parameters(matrix: np.ndarray, centre_mm) -> np.ndarray:
    """The six rigid parameters (mm, rad) of a 4x4 world matrix about a centre (mm); inverse of rigid_matrix."""
    rotation, centre_mm = matrix[:3, :3], np.asarray(centre_mm, dtype=float)
    angles = [
        np.arctan2(-rotation[1, 2], rotation[2, 2]),
        np.arcsin(np.clip(rotation[0, 2], -1, 1)),
        np.arctan2(-rotation[0, 1], rotation[0, 0]),
    ]
    return np.concatenate([matrix[:3, 3] - centre_mm + rotation @ centre_mm, angles])
