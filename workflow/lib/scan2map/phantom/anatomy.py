"""The head of one subject: tissue fractions with partial volume, skull, scalp and air cavities."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from scan2map.phantom.deformation import Warp
from scan2map.phantom.grid import Grid, grid_over, sample
from scan2map.phantom.template import Template, load_template

# World box that holds the largest deformed head and some air, RAS mm.
LOWER_MM, UPPER_MM = (-100.0, -136.0, -96.0), (100.0, 108.0, 112.0)
DISTANCE_LATTICE_MM = 2.0
# CSF between the brain mask and the skull (the mask holds the sulcal CSF): the arachnoid lies 2 to 3 mm off.
SUBARACHNOID_MM = 2.0
# Mean thickness of the vault 6.3 mm, frontal and occipital 8 mm, temples 4 to 5 mm (Moreira-Gonzalez 2006).
SKULL_MM, SKULL_AXIS_GAIN_MM, SKULL_TEMPLE_LOSS_MM = 6.5, 2.0, 2.5
# Skin, fat and muscle over the vault.
SCALP_MM = 6.0
# Bone between the CSF and an air space.
BONE_OVER_AIR_MM = 2.0
# The vault opens to the neck below the foramen magnum.
FORAMEN_Z_MM, FORAMEN_WIDTH_MM = -58.0, 10.0
# Face and neck: ellipsoids (centre mm, radii mm) of soft tissue.
SOFT_TISSUE = (((0, 35, -72), (62, 62, 72)), ((0, -40, -110), (60, 62, 90)))


class Cavity(NamedTuple):
    """An ellipsoid that holds air: centre and radii (template mm), share of air (mastoid cells are a sponge)."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    air: float = 1.0


def _pair(x, y, z, radii, air=1.0) -> tuple[Cavity, Cavity]:
    return Cavity((x, y, z), radii, air), Cavity((-x, y, z), radii, air)


# Positions read against the ICBM152 head; sizes as in adult CT (see docs/phantom.md).
CAVITIES = (
    *_pair(9, 79, -4, (9, 3, 11)),  # frontal sinus
    Cavity((0, 22, -40), (13, 12, 9)),  # sphenoid sinus
    *_pair(8, 50, -42, (6, 20, 9)),  # ethmoid cells
    *_pair(7, 52, -62, (5, 30, 12), 0.7),  # nasal cavity, shared with the turbinates
    *_pair(31, 52, -66, (13, 16, 16)),  # maxillary sinus
    *_pair(56, -33, -42, (9, 11, 12), 0.5),  # mastoid air cells
    *_pair(62, -18, -40, (20, 3, 3)),  # ear canal
    Cavity((0, 2, -92), (10, 9, 38)),  # pharynx
)
BREADTH_AXES = (68.0, 90.0, 77.0)
BRAIN_CENTRE_MM = (0.0, -17.0, 5.0)


def subject_grid(voxel_size_mm: float) -> Grid:
    """The grid on which a subject is simulated."""
    return grid_over(LOWER_MM, UPPER_MM, voxel_size_mm)


@lru_cache(maxsize=1)
def brain_distance() -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the template brain's smoothed hull, mm (positive outside), and its affine."""
    template = load_template()
    grid = grid_over(np.subtract(LOWER_MM, 14), np.add(UPPER_MM, 14), DISTANCE_LATTICE_MM)
    inside = sample(template.csf + template.gm + template.wm, template.affine, grid.points(), mode="constant")
    hull = ndimage.gaussian_filter(inside, 3.0 / DISTANCE_LATTICE_MM) > 0.5
    signed = ndimage.distance_transform_edt(~hull) - ndimage.distance_transform_edt(hull)
    signed = ndimage.gaussian_filter(signed.astype(np.float32), 0.7) * DISTANCE_LATTICE_MM
    return signed, grid.affine


def ramp(distance_mm: np.ndarray, edge_mm, voxel_size_mm: float) -> np.ndarray:
    """Share of a voxel that lies closer than an edge: 1 inside, 0 outside, linear across one voxel."""
    return np.clip(0.5 + (edge_mm - distance_mm) / voxel_size_mm, 0, 1).astype(np.float32)


def _ellipsoid_distance(points: np.ndarray, centre, radii) -> np.ndarray:
    """Approximate signed distance to an ellipsoid (exact on its surface and for a sphere), mm."""
    offset = (points - np.float32(centre)) / np.float32(radii)
    length = np.sqrt((offset**2).sum(-1))
    gradient = np.sqrt(((offset / np.float32(radii)) ** 2).sum(-1))
    return np.where(length > 1e-3, (length - 1) * length / np.maximum(gradient, 1e-9), -min(radii)).astype(np.float32)


def skull_thickness_mm(points: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Thickness of the skull by direction from the brain's centre, mm."""
    direction = (points - np.float32(BRAIN_CENTRE_MM)) / np.float32(BREADTH_AXES)
    direction /= np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-6)
    along, temple = direction[..., 1] ** 2, direction[..., 0] ** 2 * (direction[..., 2] < 0.3)
    return scale * (SKULL_MM + SKULL_AXIS_GAIN_MM * along**2 - SKULL_TEMPLE_LOSS_MM * temple**2)


def _near(points: np.ndarray, cavity: Cavity, margin_mm: float) -> np.ndarray:
    inside = np.ones(points.shape[:-1], bool)
    for axis in range(3):
        inside &= np.abs(points[..., axis] - cavity.centre_mm[axis]) < cavity.radii_mm[axis] + margin_mm
    return inside


def air_share(points: np.ndarray, distance_mm: np.ndarray, voxel_size_mm: float) -> np.ndarray:
    """Share of air of the cavities, kept a bone's breadth away from the brain, 0..1."""
    share = np.zeros(points.shape[:-1], np.float32)
    for cavity in CAVITIES:
        near = _near(points, cavity, 2 * voxel_size_mm)
        distance = _ellipsoid_distance(points[near], cavity.centre_mm, cavity.radii_mm)
        share[near] = np.maximum(share[near], cavity.air * ramp(distance, 0.0, voxel_size_mm))
    return share * (1 - ramp(distance_mm, SUBARACHNOID_MM + BONE_OVER_AIR_MM, voxel_size_mm))


class Shells(NamedTuple):
    """Share of each voxel inside the skull, inside its outer table, inside the skin, of cavity air; depth in the skull.

    The shares run from 0 to 1, the depth from 0 (inner table) to 1 (outer table).
    """

    intracranial: np.ndarray
    bone: np.ndarray
    head: np.ndarray
    air: np.ndarray
    skull_depth: np.ndarray


def head_shells(points: np.ndarray, voxel_size_mm: float, skull_scale: float = 1.0) -> Shells:
    """Nested shells of the head at template points (x, y, z, 3) mm."""
    distance = sample(*brain_distance(), points)
    thickness = skull_thickness_mm(points, skull_scale)
    closed = ramp(FORAMEN_Z_MM - points[..., 2], 0.0, FORAMEN_WIDTH_MM)
    intracranial = ramp(distance, SUBARACHNOID_MM, voxel_size_mm)
    bone = np.maximum(intracranial, closed * ramp(distance, SUBARACHNOID_MM + thickness, voxel_size_mm))
    head = np.maximum(bone, ramp(distance, SUBARACHNOID_MM + thickness + SCALP_MM, voxel_size_mm))
    for centre, radii in SOFT_TISSUE:
        head = np.maximum(head, ramp(_ellipsoid_distance(points, centre, radii), 0.0, voxel_size_mm))
    depth = np.clip((distance - SUBARACHNOID_MM) / thickness, 0, 1)
    return Shells(intracranial, bone, head, air_share(points, distance, voxel_size_mm), depth)


def _brain_fractions(template: Template, points: np.ndarray, voxel_size_mm: float) -> list[np.ndarray]:
    # A voxel averages the 1 mm maps over its own size: the Gaussian of the box's variance beyond their own.
    sigma = np.sqrt(max(voxel_size_mm**2 - 1, 0) / 12)
    return [
        sample(ndimage.gaussian_filter(m, sigma) if sigma else m, template.affine, points, mode="constant")
        for m in (template.gm, template.wm)
    ]


class Head(NamedTuple):
    """Tissue fractions (sum <= 1, rest air), template points of the voxels (mm), depth inside the skull (0..1)."""

    fractions: dict[str, np.ndarray]
    points: np.ndarray
    skull_depth: np.ndarray


def build_head(grid: Grid, warp: Warp, skull_scale: float = 1.0) -> Head:
    """Bring the template's tissues and the head's shells onto a subject-space grid.

    Args:
        grid: subject-space grid.
        warp: subject to template.
        skull_scale: this subject's skull thickness relative to the mean.
    """
    points = warp.template_points(grid)
    gm, wm = _brain_fractions(load_template(), points, grid.voxel_size_mm)
    shells = head_shells(points, grid.voxel_size_mm, skull_scale)
    brain = gm + wm
    inside = np.maximum(shells.intracranial, brain)
    bone = np.maximum(shells.bone, inside)
    tissue = 1 - shells.air * (1 - inside)
    fractions = {
        "csf": inside - brain,
        "gm": gm,
        "wm": wm,
        "lesion": np.zeros_like(gm),
        "skull": (bone - inside) * tissue,
        "scalp": (np.maximum(shells.head, bone) - bone) * tissue,
    }
    return Head({name: np.clip(f, 0, 1) for name, f in fractions.items()}, points, shells.skull_depth)
