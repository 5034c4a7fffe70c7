"""Boundary-based rigid registration: the edge of white matter of the T1w image on an image where grey is brighter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.registration import (
    Transform,
    apply_transform,
    register_rigid,
    resample_isotropic,
    rigid_matrix,
    rigid_parameters,
    sample_image,
)

# The image is compared this far inside and outside of the boundary, mm: first far for a wide catch, then near.
DISTANCES_MM = (4.0, 2.0)
# Slope of the cost per per cent of contrast across the boundary (Greve and Fischl 2009, eq. 1, use 0.5 per 10 %).
SLOPE_PER_PERCENT = 0.05
MAX_POINTS = 8000
LEAST_POINTS = 200
# The start is found by mutual information on images of this voxel size.
COARSE_MM = 4.0
# From this cost on a registration has failed: noise and inverted contrast end above 0.94, right ones below 0.75.
WORST_COST = 0.9
# One radian moves a point at the brain's edge by about this many mm: both kinds of parameter on one scale.
BRAIN_RADIUS_MM = 50.0


class Boundary(NamedTuple):
    """Points on the edge of white matter, world mm (n, 3), and unit normals into the white matter (n, 3)."""

    points: np.ndarray
    normals: np.ndarray


def white_matter_boundary(wm: Image, csf: Image, mask: np.ndarray) -> Boundary:
    """The border between white and grey matter from their fractions, away from fluid and the edge of the brain.

    Args:
        wm: white-matter fraction of the T1w image.
        csf: CSF fraction on the same grid.
        mask: brain.

    Returns:
        At most ``MAX_POINTS`` evenly picked border voxels.

    Raises:
        DataError: too few border voxels.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(wm.data, 2.0 / wm.voxel_size_mm)
    slope = np.stack(np.gradient(smooth), axis=-1) @ np.linalg.inv(wm.affine[:3, :3])
    steepness = np.linalg.norm(slope, axis=-1)
    inner = ndimage.binary_erosion(mask, iterations=max(1, round(4.0 / float(wm.voxel_size_mm.mean()))))
    steep = steepness > np.percentile(steepness[mask], 80)
    border = inner & steep & (np.abs(wm.data - 0.5) < 0.25) & (csf.data < 0.1)
    voxels = np.argwhere(border)
    if len(voxels) < LEAST_POINTS:
        raise DataError(
            "The T1w image has no clear border between grey and white matter",
            found=f"{len(voxels)} border voxels",
            allowed=f"at least {LEAST_POINTS}",
            remedy="look at the tissue maps",
        )
    picked = np.linspace(0, len(voxels) - 1, min(len(voxels), MAX_POINTS)).round().astype(int)
    points = voxels[picked] @ wm.affine[:3, :3].T + wm.affine[:3, 3]
    return Boundary(points, (slope[border] / steepness[border][:, None])[picked])


def boundary_cost(image: Image, boundary: Boundary, transform: Transform, distance_mm: float) -> float:
    """Cost of a transform: 1 − mean tanh(slope · contrast), contrast = 200 (outside − inside) / (outside + inside) %.

    Points that fall outside the image's field of view do not count.

    Args:
        image: grey matter brighter than white (M0, b = 0, control), (x, y, z).
        boundary: edge of white matter in the fixed world.
        transform: fixed world to the image's world.
        distance_mm: distance of the compared points from the boundary.

    Returns:
        0 (perfect) to 2; 1 where there is no contrast.
    """
    inside, seen_inside = _values(image, transform.points(boundary.points + distance_mm * boundary.normals))
    outside, seen_outside = _values(image, transform.points(boundary.points - distance_mm * boundary.normals))
    seen = seen_inside & seen_outside
    if seen.sum() < LEAST_POINTS / 2:
        return 2.0
    total = np.maximum(outside[seen] + inside[seen], 1e-6)
    return float(1 - np.tanh(SLOPE_PER_PERCENT * 200 * (outside - inside)[seen] / total).mean())


def register_boundary(image: Image, boundary: Boundary, start: Transform) -> tuple[Transform, float]:
    """Refine a rigid transform so that the image's contrast lies on the boundary of white matter.

    Args:
        image: grey matter brighter than white, (x, y, z).
        boundary: edge of white matter in the fixed world.
        start: fixed world to the image's world, within a few millimetres.

    Returns:
        The refined transform and its cost (:func:`boundary_cost` at the near distance).

    Source: Greve and Fischl 2009, NeuroImage 48:63.
    """
    from scipy.optimize import minimize

    centre = boundary.points.mean(0)
    translation, rotation = rigid_parameters(start.linear, centre)
    parameters = np.concatenate([translation, rotation * BRAIN_RADIUS_MM])

    def transform(values) -> Transform:
        return Transform(rigid_matrix(values[:3], values[3:] / BRAIN_RADIUS_MM, centre))

    for distance_mm in DISTANCES_MM:
        found = minimize(
            lambda values, far=distance_mm: boundary_cost(image, boundary, transform(values), far),
            parameters,
            method="Powell",
            options={"xtol": 0.02, "ftol": 1e-5, "maxiter": 10},
        )
        parameters = found.x
    return transform(parameters), float(found.fun)


def register_to_t1w(
    image: Image, brain: Image, wm: Image, csf: Image, mask: np.ndarray, *, seed: int = 1
) -> tuple[Transform, float]:
    """Bring an M0, b = 0 or control image onto the T1w image: mutual information, then the white-matter boundary.

    Args:
        image: grey matter brighter than white, (x, y, z); partial coverage is fine.
        brain: T1w image, 0 outside the brain.
        wm, csf: tissue fractions on the T1w grid.
        mask: brain on the T1w grid.
        seed: start of ANTs' random numbers.

    Returns:
        The transform (T1w world to the image's world) and its boundary cost.

    Raises:
        DataError: the border of white matter is not found in the image.
        ToolError: ANTs failed.
    """
    coarse = resample_isotropic(brain, COARSE_MM)
    near = _grown(
        apply_transform(Image(mask.astype(np.float32), brain.affine), coarse, Transform(), "mean").data > 0.05
    )
    start = register_rigid(
        coarse, image, fixed_mask=near, shrink_factors=(2, 1), smoothing_voxels=(1, 0), iterations=(250, 100),
        sampling_rate=0.5, seed=seed,
    )  # fmt: skip
    transform, cost = register_boundary(image, white_matter_boundary(wm, csf, mask), start)
    if cost >= WORST_COST:
        raise DataError(
            "The image could not be registered to the T1w image",
            found=f"boundary cost {cost:.2f}",
            allowed=f"below {WORST_COST:g}",
            remedy="look at both images: do they show the same head, is grey matter brighter than white?",
        )
    return transform, cost


def _grown(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.binary_dilation(mask)


def _values(image: Image, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linearly interpolated values at world points, and whether each lies in the field of view."""
    to_voxel = np.linalg.inv(image.affine)
    voxels = world @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    seen = ((voxels >= 0) & (voxels <= np.array(image.data.shape) - 1)).all(axis=1)
    return sample_image(image, world, "linear"), seen
