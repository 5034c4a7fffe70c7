"""The fibre-orientation field of white matter: tract centre lines and the course towards the cortex."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from scan2map.phantom.deformation import Warp
from scan2map.phantom.grid import Grid, grid_over, regrid, sample, smooth_noise
from scan2map.phantom.template import load_template
from scan2map.phantom.tracts import TRACTS
from scan2map.physics.diffusion import outer_elements, tensor_matrix

LATTICE_MM = 3.0
SAMPLE_STEP_MM = 1.0
# Fibres of the gyral blades run towards the cortex; in deep white matter the tracts outweigh this term.
CORTEX_SMOOTHING_MM, CORTEX_WEIGHT = 3.0, 0.10
# Intra-axonal volume fraction of white matter (Zhang 2012; Kaden 2016) and how much of it is coherent.
AXON_FRACTION = 0.60
COHERENCE_MIN, COHERENCE_MAX = 0.30, 0.92
COHERENCE_LIMITS = (0.10, 0.98)  # of a subject whose coherence varies
# Coherence is half way where this share (λ1-λ2)/(λ1+λ2+λ3) of the mixture of tracts is one direction, and away from
# the tracts it falls with their density (relative to the densest percent).
COHERENCE_MIDPOINT, COHERENCE_STEEPNESS = 0.60, 6.0
HALF_DENSITY = 0.07


class FibreField(NamedTuple):
    """Unit direction (x, y, z, 3) in world RAS, intra-axonal share of white matter and coherence of axons, 0..1."""

    direction: np.ndarray
    axon_fraction: np.ndarray
    coherence: np.ndarray


def tract_samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 3) mm along all tracts of both hemispheres, unit tangents (n, 3) and half widths (n,) mm."""
    points, tangents, widths = [], [], []
    for width, way in TRACTS.values():
        way = np.asarray(way, float)
        length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))]
        spline = CubicSpline(length, way)
        at = np.arange(0, length[-1], SAMPLE_STEP_MM)
        tangent = spline(at, 1)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        for mirror in ((1, 1, 1), (-1, 1, 1)):
            points.append(spline(at) * mirror)
            tangents.append(tangent * mirror)
            widths.append(np.full(len(at), width))
    return np.concatenate(points), np.concatenate(tangents), np.concatenate(widths)


def _tract_dyads(grid: Grid) -> np.ndarray:
    points, tangents, widths = tract_samples()
    voxels = np.round((points - grid.affine[:3, 3]) / grid.voxel_size_mm).astype(int)
    total = np.zeros((*grid.shape, 6), np.float32)
    for width in np.unique(widths):
        chosen = widths == width
        density = np.zeros((*grid.shape, 6), np.float32)
        np.add.at(density, tuple(voxels[chosen].T), outer_elements(tangents[chosen]))
        sigma = width / grid.voxel_size_mm
        total += width**2 * np.stack([ndimage.gaussian_filter(density[..., c], sigma) for c in range(6)], axis=-1)
    return total / np.percentile(total[..., [0, 3, 5]].sum(-1), 99)


def _cortex_dyads(grid: Grid) -> np.ndarray:
    template = load_template()
    wm = sample(template.wm, template.affine, grid.points(), mode="constant")
    smooth = ndimage.gaussian_filter(wm, CORTEX_SMOOTHING_MM / grid.voxel_size_mm)
    gradient = np.stack(np.gradient(smooth), axis=-1)
    gradient /= np.percentile(np.linalg.norm(gradient, axis=-1), 99)
    return outer_elements(gradient)


@lru_cache(maxsize=1)
def orientation_tensor() -> tuple[np.ndarray, np.ndarray]:
    """Orientation tensor (second moment of the fibre directions, (x, y, z, 6)) in the template, and its affine."""
    template = load_template()
    upper = template.affine[:3, 3] + np.array(template.wm.shape)
    grid = grid_over(template.affine[:3, 3], upper, LATTICE_MM)
    tensor = _tract_dyads(grid) + CORTEX_WEIGHT * _cortex_dyads(grid)
    return tensor.astype(np.float32), grid.affine


def reorient(tensor: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Carry template orientation tensors (n, 3, 3) into the subject along the fibres.

    With the warp's Jacobian J (template by subject), a fibre direction n becomes J⁻¹n: preservation of the principal
    direction, exact for axisymmetric tensors (the length is dropped by the caller's normalisation).

    Source:
        Alexander DC et al. (2001), Spatial transformations of diffusion tensor MR images, IEEE TMI 20:1131-1139.
    """
    inverse = np.linalg.inv(jacobian)
    return inverse @ tensor @ np.swapaxes(inverse, -1, -2)


def _coherence(eigenvalues: np.ndarray) -> np.ndarray:
    density = np.maximum(eigenvalues.sum(-1), 1e-9)
    spread = (eigenvalues[:, 2] - eigenvalues[:, 1]) / density
    share = density / (density + HALF_DENSITY) / (1 + np.exp(-COHERENCE_STEEPNESS * (spread - COHERENCE_MIDPOINT)))
    return COHERENCE_MIN + (COHERENCE_MAX - COHERENCE_MIN) * share


def turn_vectors(vectors: np.ndarray, rotation_vectors_rad: np.ndarray) -> np.ndarray:
    """Turn vectors (n, 3) about axes (n, 3) by the axes' lengths in radians (Rodrigues' formula)."""
    return Rotation.from_rotvec(rotation_vectors_rad).apply(vectors)


def _own_course(field: FibreField, brain: np.ndarray, noise: Callable[[], np.ndarray], settings: dict) -> FibreField:
    """A subject's own smooth deviation of coherence and direction, which no deformation of the template explains."""
    direction, coherence = field.direction, field.coherence
    if settings["coherence_sd"]:
        coherence = np.clip(coherence + np.float32(settings["coherence_sd"]) * noise(), *COHERENCE_LIMITS)
    if settings["direction_sd_deg"]:
        turns = np.deg2rad(settings["direction_sd_deg"]) * np.stack([noise()[brain] for _ in range(3)], axis=-1)
        direction = direction.copy()
        direction[brain] = turn_vectors(direction[brain], turns)
    return FibreField(direction, field.axon_fraction, coherence)


def build_fibres(
    grid: Grid, warp: Warp, points: np.ndarray, brain: np.ndarray, settings: dict, rng: np.random.Generator
) -> FibreField:
    """Directions, axon fraction and coherence on the subject's grid.

    Args:
        grid: subject grid.
        warp: subject to template.
        points: template points of the voxels (x, y, z, 3) mm.
        brain: where to compute, boolean (x, y, z); elsewhere the direction is superior and the coherence lowest.
        settings: the block ``phantom_subject.fibres``.
        rng: the subject's generator (smooth variation between subjects).
    """
    tensor, affine = orientation_tensor()
    inside = points[brain]
    template = np.stack([sample(tensor[..., c], affine, inside) for c in range(6)], axis=-1)
    jacobian = regrid(warp.jacobian.reshape(*warp.lattice.shape, 9), warp.lattice, grid)[brain].reshape(-1, 3, 3)
    values, vectors = np.linalg.eigh(reorient(tensor_matrix(template), jacobian))
    direction = np.zeros((*grid.shape, 3), np.float32)
    direction[..., 2] = 1
    direction[brain] = vectors[:, :, 2]
    coherence = np.full(grid.shape, COHERENCE_MIN, np.float32)
    coherence[brain] = _coherence(values)

    def noise() -> np.ndarray:
        return regrid(smooth_noise(warp.lattice, settings["variation_mm"], rng), warp.lattice, grid)

    axons = np.clip(AXON_FRACTION + settings["axon_fraction_sd"] * noise(), 0.5, 0.72)
    return _own_course(FibreField(direction, axons.astype(np.float32), coherence), brain, noise, settings)
