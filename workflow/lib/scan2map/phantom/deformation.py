"""Smooth diffeomorphisms and rigid motion."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def rigid_matrix(translation_mm, rotation_deg, centre_mm=(0.0, -18.0, 8.0)) -> np.ndarray:
    """4x4 rigid transform in world RAS mm: rotation (xyz Euler angles) about a centre, then translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    centre = np.asarray(centre_mm)
    matrix[:3, 3] = centre + np.asarray(translation_mm) - matrix[:3, :3] @ centre
    return matrix
