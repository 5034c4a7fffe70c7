"""The mean tensor of the training heads in template space: what anatomy alone leads to expect."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from scan2map.systems.bssfp_dti.channels import (
    TEMPLATE_BOX_MM,
    brightness,
    points_of,
    scaled_image,
    source_of,
    template_channels,
)
from scan2map.systems.bssfp_dti.place import template_turns, turn_locally
from scan2map.systems.bssfp_dti.representation import to_matrices

LONGEST_SIDE_MM = max(high - low for low, high in TEMPLATE_BOX_MM)
STEP = 1 / 256  # of a packed lattice: 0.4 % of a diffusivity whose logarithm it is
FILLED_MM = 6.0  # beyond, no registration of a brain looks


def lattice_places(points_mm: np.ndarray, points: int) -> np.ndarray:
    """Coordinates (3, n) on a lattice of ``points`` along each axis of the template's box, of points (3, n) in mm."""
    scaled = template_channels(torch.from_numpy(points_mm.astype(np.float32))[..., None, None])[..., 0, 0].numpy()
    return np.clip((scaled + 1) / 2, 0, 1) * (points - 1)


def spread(places: np.ndarray, values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, channels) given to the eight lattice points around each place (3, n) by their nearness.

    Returns:
        Sums (channels, points, points, points) and weights (points, points, points).
    """
    low = np.minimum(places.astype(int), points - 2)
    away = places - low
    sums, weights = np.zeros((values.shape[1], points**3)), np.zeros(points**3)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod([away[axis] if corner[axis] else 1 - away[axis] for axis in range(3)], axis=0)
        index = np.ravel_multi_index(tuple(low[axis] + corner[axis] for axis in range(3)), (points,) * 3)
        weights += np.bincount(index, share, points**3)
        for total, column in zip(sums, values.T, strict=True):
            total += np.bincount(index, share * column, points**3)
    return sums.reshape(-1, points, points, points), weights.reshape(points, points, points)


def _values(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], constants: Mapping) -> np.ndarray:
    """Mean matrix over sessions in the template's axes, and brightness, of every brain voxel (n, 7)."""
    mask, modality = arrays["mask"] > 0, settings["modality"]
    tensors = torch.from_numpy(arrays["tensor"][..., mask].astype(np.float32))[..., None, None]
    matrices = to_matrices(tensors, settings["parametrisation"])[..., 0, 0].mean(0).numpy()
    if settings["network"]["turned"]:
        turns = template_turns(arrays[points_of(modality)], settings["data"]["voxel_size_mm"], mask)
        matrices = turn_locally(matrices, turns)
    light = np.zeros((1, mask.sum()), np.float32)
    if source_of(modality):
        light = brightness(modality, scaled_image(arrays, 0, modality, constants)).numpy()[:, mask]
    return np.concatenate([matrices, light]).T


def mean_lattice(
    subjects: Sequence[Mapping[str, np.ndarray]], settings: Mapping[str, Any], constants: Mapping
) -> np.ndarray:
    """Mean over heads and sessions of what is learned, unscaled, and of the modality's brightness (7, x, y, z).

    Empty places near full ones have the values of the nearest full one; those far away are 0.

    Args:
        subjects: arrays of the training part.
        settings: the system's settings.
        constants: ranges of the channels.
    """
    points, source = settings["network"]["prior_points"], points_of(settings["modality"])
    total, weight = 0.0, 0.0
    for arrays in subjects:
        values = _values(arrays, settings, constants)
        parts = spread(lattice_places(arrays[source][:, arrays["mask"] > 0], points), values, points)
        total, weight = total + parts[0], weight + parts[1]
    mean = total / np.maximum(weight, 1e-6)
    away, nearest = ndimage.distance_transform_edt(weight < 1e-3, return_indices=True)
    return mean[(slice(None), *nearest)] * (away * LONGEST_SIDE_MM / (points - 1) < FILLED_MM)


def packed(lattice: np.ndarray) -> dict[str, Any]:
    """A lattice (7, x, y, z) as text, in steps of ``STEP``: it travels in a package's configuration."""
    levels = np.round(lattice / STEP).astype("<i2")
    rises = np.diff(levels, axis=-1, prepend=np.int16(0))  # neighbours are alike: their differences pack well
    data = base64.b64encode(zlib.compress(rises.tobytes(), 9)).decode()
    return {"shape": list(lattice.shape), "int16_rises_zlib_base64": data}


def unpacked(text: Mapping[str, Any]) -> torch.Tensor:
    """The lattice (7, x, y, z) of :func:`packed`."""
    rises = np.frombuffer(zlib.decompress(base64.b64decode(text["int16_rises_zlib_base64"])), "<i2")
    levels = np.cumsum(rises.reshape(text["shape"]), axis=-1, dtype=np.int16)
    return torch.from_numpy(levels.astype(np.float32) * np.float32(STEP))
