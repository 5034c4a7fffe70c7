"""Cubic B-spline and linear interpolation of 3-D volumes in torch, with spatial gradients.

Coordinates are voxel indices. Volumes are mirrored about the centres of their edge voxels; a point outside the
volume takes the value of the nearest edge point. Method: Unser, Aldroubi and Eden 1993, IEEE Trans Signal Process
41:821 (B-spline signal processing).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

MAX_POINTS = 4_000_000  # points per chunk: bounds the memory of a batch to about 0.5 GB


@lru_cache(maxsize=64)
def prefilter_matrix(length: int) -> np.ndarray:
    """Matrix from samples to cubic B-spline coefficients on a mirrored line: inverse of the sampled basis."""
    if length == 1:
        return np.ones((1, 1))
    basis = np.eye(length) * 4 + np.eye(length, k=1) + np.eye(length, k=-1)
    basis[0, 1] = basis[-1, -2] = 2
    return np.linalg.inv(basis / 6)


def along_axis(matrix: torch.Tensor, volumes: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply every line of an array along one axis by a matrix of shape (out, in)."""
    return torch.movedim(torch.movedim(volumes, axis, -1) @ matrix.T, -1, axis)


def spline_coefficients(volumes: torch.Tensor) -> torch.Tensor:
    """Cubic B-spline coefficients whose spline passes through the samples.

    Args:
        volumes: samples, shape (..., x, y, z).

    Returns:
        Coefficients, same shape.
    """
    for axis in (-3, -2, -1):
        matrix = torch.as_tensor(prefilter_matrix(volumes.shape[axis]), dtype=volumes.dtype, device=volumes.device)
        volumes = along_axis(matrix, volumes, axis)
    return volumes.contiguous()


def _cubic_weights(t: torch.Tensor) -> list[torch.Tensor]:
    u = 1 - t
    return [u**3 / 6, 2 / 3 - t * t * (1 - t / 2), 2 / 3 - u * u * (1 - u / 2), t**3 / 6]


def _cubic_slopes(t: torch.Tensor) -> list[torch.Tensor]:
    u = 1 - t
    return [-u * u / 2, t * (1.5 * t - 2), u * (2 - 1.5 * u), t * t / 2]


def _linear_weights(t: torch.Tensor) -> list[torch.Tensor]:
    return [1 - t, t]


def _linear_slopes(t: torch.Tensor) -> list[torch.Tensor]:
    return [-torch.ones_like(t), torch.ones_like(t)]


_KERNELS = {1: (_linear_weights, _linear_slopes, 0), 3: (_cubic_weights, _cubic_slopes, -1)}


def _axis_taps(coordinate: torch.Tensor, length: int, order: int, stride: int):
    """Flat offsets, weights and slopes of the neighbours of each point along one axis."""
    weights, slopes, first = _KERNELS[order]
    inside = coordinate.clamp(0, length - 1)
    base = inside.floor().clamp(max=max(length - 2, 0))
    offsets = []
    for tap in range(first, first + order + 1):
        index = (base + tap).long().abs()
        index = (length - 1) - ((length - 1) - index).abs()
        offsets.append(index.clamp_(min=0) * stride)
    fraction = inside - base
    return offsets, weights(fraction), slopes(fraction)


def _weighted_sum(values: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = torch.addcmul(total, value, weight)
    return total


def _sample_one(flat: torch.Tensor, shape, coordinates: torch.Tensor, order: int, gradient: bool):
    strides = (shape[1] * shape[2], shape[2], 1)
    taps = [_axis_taps(coordinates[axis], shape[axis], order, strides[axis]) for axis in range(3)]
    (x_offset, x_weight, x_slope), (y_offset, y_weight, y_slope), (z_offset, z_weight, z_slope) = taps
    planes = []  # per x neighbour: value, slope along y, slope along z
    for x in x_offset:
        lines, line_slopes = [], []
        for y in y_offset:
            corner = x + y
            points = [torch.take(flat, corner + z) for z in z_offset]
            lines.append(_weighted_sum(points, z_weight))
            if gradient:
                line_slopes.append(_weighted_sum(points, z_slope))
        plane = [_weighted_sum(lines, y_weight)]
        if gradient:
            plane += [_weighted_sum(lines, y_slope), _weighted_sum(line_slopes, y_weight)]
        planes.append(plane)
    values = [plane[0] for plane in planes]
    value = _weighted_sum(values, x_weight)
    if not gradient:
        return value, None
    along_y = _weighted_sum([plane[1] for plane in planes], x_weight)
    along_z = _weighted_sum([plane[2] for plane in planes], x_weight)
    return value, torch.stack([_weighted_sum(values, x_slope), along_y, along_z])


def sample(coefficients: torch.Tensor, coordinates: torch.Tensor, *, order: int = 3, gradient: bool = False):
    """Interpolate one volume at given points.

    Args:
        coefficients: :func:`spline_coefficients` of the volume for ``order`` 3, the volume itself for ``order`` 1;
            shape (x, y, z).
        coordinates: voxel coordinates of the points, shape (3, ...).
        order: 1 (trilinear) or 3 (cubic B-spline).
        gradient: also return the spatial gradient per voxel.

    Returns:
        Values, shape (...); with ``gradient`` a pair (values, gradient of shape (3, ...)).
    """
    shape, points = coefficients.shape, coordinates.reshape(3, -1)
    flat = coefficients.reshape(-1)
    chunks = [_sample_one(flat, shape, part, order, gradient) for part in points.split(MAX_POINTS, dim=1)]
    values = torch.cat([value for value, _ in chunks]).reshape(coordinates.shape[1:])
    if not gradient:
        return values
    return values, torch.cat([slope for _, slope in chunks], dim=1).reshape(coordinates.shape)


def inside_volume(coordinates: torch.Tensor, shape, margin: float = 0.5) -> torch.Tensor:
    """True where a point lies in the volume, its edge voxels included to their outer faces; shape (...)."""
    inside = torch.ones(coordinates.shape[1:], dtype=torch.bool, device=coordinates.device)
    for axis, length in enumerate(shape):
        inside &= (coordinates[axis] >= -margin) & (coordinates[axis] <= length - 1 + margin)
    return inside
