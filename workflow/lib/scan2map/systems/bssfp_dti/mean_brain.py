"""The mean tensor of the training heads in template space: what anatomy alone leads to expect."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from scan2map.systems.bssfp_dti.channels import TEMPLATE_SOURCES, template_channels
from scan2map.systems.bssfp_dti.place import template_turns, turn_locally
from scan2map.systems.bssfp_dti.representation import Representation, to_matrices

ELEMENTS = 6


def lattice_places(points_mm: np.ndarray, points: int) -> np.ndarray:
    """Coordinates (3, n) on a lattice of ``points`` along each axis of the template's box, of points (3, n) in mm."""
    scaled = template_channels(torch.from_numpy(points_mm.astype(np.float32))[..., None, None])[..., 0, 0].numpy()
    return np.clip((scaled + 1) / 2, 0, 1) * (points - 1)


def spread(places: np.ndarray, values: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, 6) given to the eight lattice points around each place (3, n) by their nearness.

    Returns:
        Sums (6, points, points, points) and weights (points, points, points).
    """
    low = np.minimum(places.astype(int), points - 2)
    away = places - low
    sums, weights = np.zeros((ELEMENTS, points**3)), np.zeros(points**3)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod([away[axis] if corner[axis] else 1 - away[axis] for axis in range(3)], axis=0)
        index = np.ravel_multi_index(tuple(low[axis] + corner[axis] for axis in range(3)), (points,) * 3)
        weights += np.bincount(index, share, points**3)
        for element in range(ELEMENTS):
            sums[element] += np.bincount(index, share * values[:, element], points**3)
    return sums.reshape(ELEMENTS, points, points, points), weights.reshape(points, points, points)


def mean_lattice(
    subjects: Sequence[Mapping[str, np.ndarray]], settings: Mapping[str, Any], elements: Mapping
) -> np.ndarray:
    """Mean scaled representation (6, x, y, z) over heads and sessions; empty places have that of the nearest full one.

    Args:
        subjects: arrays of the training part.
        settings: the system's settings.
        elements: ranges of the elements by parametrisation.
    """
    kind, points = settings["parametrisation"], settings["network"]["prior_points"]
    representation = Representation(kind, elements[kind])
    source = TEMPLATE_SOURCES.get(settings["modality"], TEMPLATE_SOURCES["template"])
    total, weight = 0.0, 0.0
    for arrays in subjects:
        mask = arrays["mask"] > 0
        tensors = torch.from_numpy(arrays["tensor"][..., mask].astype(np.float32))
        matrices = to_matrices(tensors[..., None, None], kind)[..., 0, 0].mean(0)
        if settings["network"]["turned"]:
            turns = template_turns(arrays[source], settings["data"]["voxel_size_mm"])[mask]
            matrices = torch.from_numpy(turn_locally(matrices.numpy(), turns))
        values = representation.scale(matrices[..., None, None])[..., 0, 0].numpy().T
        parts = spread(lattice_places(arrays[source][:, mask], points), values, points)
        total, weight = total + parts[0], weight + parts[1]
    mean = total / np.maximum(weight, 1e-6)
    nearest = ndimage.distance_transform_edt(weight < 1e-3, return_distances=False, return_indices=True)
    return mean[(slice(None), *nearest)]


def packed(lattice: np.ndarray) -> dict[str, Any]:
    """A lattice (6, x, y, z) as text, half precision: it travels in a package's configuration."""
    data = base64.b64encode(zlib.compress(lattice.astype("<f2").tobytes(), 9)).decode()
    return {"shape": list(lattice.shape), "float16_zlib_base64": data}


def unpacked(text: Mapping[str, Any]) -> torch.Tensor:
    """The lattice (6, x, y, z) of :func:`packed`."""
    values = np.frombuffer(zlib.decompress(base64.b64decode(text["float16_zlib_base64"])), "<f2")
    return torch.from_numpy(values.reshape(text["shape"]).astype(np.float32))
