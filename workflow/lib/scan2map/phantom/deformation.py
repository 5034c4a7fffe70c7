"""Smooth diffeomorphisms between subject and template, and rigid motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scan2map.errors import SettingError
from scan2map.phantom.grid import Grid, regrid, smooth_noise

HEAD_CENTRE_MM = (0.0, -18.0, 8.0)
SQUARINGS = 6


@dataclass(frozen=True)
class Warp:
    """A diffeomorphism from subject to template space, held on a coarse lattice.

    Attributes:
        lattice: the grid (subject space) on which the displacement is stored.
        displacement_mm: template point minus subject point, (x, y, z, 3) mm.
        jacobian: derivative of the template point by the subject point, (x, y, z, 3, 3).
    """

    lattice: Grid
    displacement_mm: np.ndarray
    jacobian: np.ndarray

    def template_points(self, grid: Grid) -> np.ndarray:
        """Where each voxel of a subject-space grid lies in the template, (x, y, z, 3) mm."""
        return grid.points() + regrid(self.displacement_mm, self.lattice, grid)

    def subject_point(self, template_mm, iterations: int = 20) -> np.ndarray:
        """The subject point that maps to a template point, by fixed-point iteration; (3,) mm."""
        target = np.asarray(template_mm, float)
        point = target.copy()
        for _ in range(iterations):
            voxel = ((point - self.lattice.affine[:3, 3]) / self.lattice.voxel_size_mm)[:, None]
            shift = [
                ndimage.map_coordinates(self.displacement_mm[..., c], voxel, order=1, mode="nearest")[0]
                for c in range(3)
            ]
            point = target - np.array(shift)
        return point


def exponentiate(velocity_mm: np.ndarray, voxel_size_mm: float, squarings: int = SQUARINGS) -> np.ndarray:
    """Displacement of the flow of a stationary velocity field after unit time, by scaling and squaring.

    Args:
        velocity_mm: (x, y, z, 3) mm per unit time.
        voxel_size_mm: lattice spacing.
        squarings: the field is divided by 2**squarings, then composed with itself so many times.

    Source:
        Arsigny V et al. (2006), A log-Euclidean framework for statistics on diffeomorphisms, MICCAI, 924-931.
    """
    displacement = (velocity_mm / 2**squarings).astype(np.float32)
    voxels = np.indices(velocity_mm.shape[:3]).astype(np.float32)
    for _ in range(squarings):
        moved = voxels + np.moveaxis(displacement, -1, 0) / voxel_size_mm
        step = [ndimage.map_coordinates(displacement[..., c], moved, order=1, mode="nearest") for c in range(3)]
        displacement = displacement + np.stack(step, axis=-1)
    return displacement


def jacobian_of(displacement_mm: np.ndarray, voxel_size_mm: float) -> np.ndarray:
    """Jacobian matrix of x + displacement(x) by central differences, (x, y, z, 3, 3)."""
    rows = [np.stack(np.gradient(displacement_mm[..., c], voxel_size_mm), axis=-1) for c in range(3)]
    return (np.stack(rows, axis=-2) + np.eye(3)).astype(np.float32)


def _velocity(lattice: Grid, settings: dict, rng: np.random.Generator) -> np.ndarray:
    scale = settings["mean_scale"] * np.exp(settings["scale_sd"] * np.clip(rng.standard_normal(3), -2, 2))
    # The map runs from the subject to the template: a small head is stretched, hence the minus sign.
    velocity = -np.log(scale) * (lattice.points() - np.asarray(HEAD_CENTRE_MM))
    for amplitude, smoothness in (
        (settings["amplitude_mm"], settings["smoothness_mm"]),
        (settings["fine_amplitude_mm"], settings["fine_smoothness_mm"]),
    ):
        velocity += amplitude * np.stack([smooth_noise(lattice, smoothness, rng) for _ in range(3)], axis=-1)
    return velocity.astype(np.float32)


def draw_warp(lattice: Grid, settings: dict, rng: np.random.Generator) -> Warp:
    """Draw one subject's diffeomorphism: head size, a coarse and a fine smooth random deformation.

    Args:
        lattice: coarse grid over the head, subject space.
        settings: the block ``phantom_subject.deformation``.
        rng: the subject's generator.

    Raises:
        SettingError: the amplitude is too large for the smoothness; space would fold.
    """
    displacement = exponentiate(_velocity(lattice, settings, rng), lattice.voxel_size_mm)
    jacobian = jacobian_of(displacement, lattice.voxel_size_mm)
    smallest = float(np.linalg.det(jacobian).min())
    if smallest <= 0:
        raise SettingError(
            "The phantom's deformation folds space",
            found=f"smallest Jacobian determinant {smallest:.2f}",
            allowed="> 0 everywhere",
            remedy="lower phantom_subject.deformation.amplitude_mm or raise smoothness_mm",
        )
    return Warp(lattice, displacement, jacobian)


def rigid_matrix(translation_mm, rotation_deg, centre_mm=HEAD_CENTRE_MM) -> np.ndarray:
    """4x4 rigid transform in world RAS mm: rotation (xyz Euler angles) about a centre, then translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    centre = np.asarray(centre_mm, float)
    matrix[:3, 3] = centre + np.asarray(translation_mm, float) - matrix[:3, :3] @ centre
    return matrix
