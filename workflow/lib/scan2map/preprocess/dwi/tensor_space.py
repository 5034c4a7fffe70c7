"""Tensor maps in the space of the T1w image: interpolated without swelling, and turned with the head."""

from __future__ import annotations

import numpy as np

from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.dwi.dti import KINDS
from scan2map.preprocess.dwi.tensor import COLUMNS, FULL, ROWS, TensorMaps, decompose
from scan2map.preprocess.registration import Transform, apply_transform, load_transform
from scan2map.provenance import write_sidecar

# Eigenvalues below this (mm2/s) are noise; the logarithm needs positive ones. Free water has 3e-3.
SMALLEST_EIGENVALUE = 1e-6
MASK_THRESHOLD = 0.5
MAPS = ("FA", "MD", "AD", "RD", "tensor", "direction")


def _matrices(elements: np.ndarray) -> np.ndarray:
    return elements[..., FULL].reshape(*elements.shape[:-1], 3, 3)


def _elements(matrices: np.ndarray) -> np.ndarray:
    return matrices[..., ROWS, COLUMNS]


def log_tensor(tensor: np.ndarray) -> np.ndarray:
    """Matrix logarithm of tensors (n, 6), eigenvalues clipped from below, (n, 6)."""
    values, vectors = np.linalg.eigh(_matrices(tensor.astype(float)))
    logarithms = np.log(np.maximum(values, SMALLEST_EIGENVALUE))
    return _elements(np.einsum("...ij,...j,...kj->...ik", vectors, logarithms, vectors))


def exp_tensor(logarithm: np.ndarray) -> np.ndarray:
    """Inverse of :func:`log_tensor`."""
    values, vectors = np.linalg.eigh(_matrices(logarithm.astype(float)))
    return _elements(np.einsum("...ij,...j,...kj->...ik", vectors, np.exp(values), vectors))


def rotate_tensor(tensor: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """R D R^T of tensors (..., 6)."""
    return _elements(rotation @ _matrices(tensor.astype(float)) @ rotation.T)


def isotropic_grid(image: Image, voxel_size_mm: float) -> Image:
    """An empty grid with the axes and field of view of an image and cubic voxels."""
    axes = image.affine[:3, :3] / image.voxel_size_mm
    shape = np.ceil(np.array(image.data.shape[:3]) * image.voxel_size_mm / voxel_size_mm - 1e-6).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * voxel_size_mm
    corner = image.affine[:3, 3] - axes @ image.voxel_size_mm / 2
    affine[:3, 3] = corner + axes @ np.full(3, voxel_size_mm / 2)
    return Image(np.zeros(shape, np.float32), affine)


def resample_tensor(tensor: Image, mask: Image, grid: Image, transform: Transform) -> tuple[TensorMaps, np.ndarray]:
    """Bring a tensor image onto another grid by log-Euclidean interpolation and turn it.

    Args:
        tensor: (x, y, z, 6) in world axes, mm2/s.
        mask: where it is known, on the same grid.
        grid: the new grid.
        transform: new world to the tensor's world (rigid).

    Returns:
        The maps on the new grid (``s0`` holds the interpolated mask) and where they are known.

    Source: Arsigny et al. 2006, Magn Reson Med 56:411 (log-Euclidean interpolation).
    """
    inside = mask.data > 0
    logarithm = np.zeros(tensor.data.shape, np.float32)
    logarithm[inside] = log_tensor(tensor.data[inside])
    weight = apply_transform(Image(inside.astype(np.float32), mask.affine), grid, transform).data
    known = weight > MASK_THRESHOLD
    moved = apply_transform(Image(logarithm, tensor.affine), grid, transform).data[known] / weight[known][:, None]
    turned = rotate_tensor(exp_tensor(moved), transform.linear[:3, :3].T)
    eigenvalues, direction = decompose(turned, 0.0)
    parts = (turned, weight[known], eigenvalues, direction)
    return TensorMaps(*(_filled(part, known) for part in parts)), known


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    grid = np.zeros((*known.shape, *values.shape[1:]), np.float32)
    grid[known] = values
    return grid


def resample_tensor_files(tensor, mask, transform, t1w, settings: dict, *, output: dict) -> None:
    """Write the tensor maps on a grid of the T1w image's space.

    Args:
        tensor, mask: tensor image and brain mask of the diffusion scan.
        transform: ITK transform that resamples the diffusion scan onto the T1w image.
        t1w: the T1w image: gives axes and field of view.
        settings: block ``dwi``.
        output: paths by the names of ``MAPS``.
    """
    grid = isotropic_grid(load_image(t1w), settings["align"]["voxel_size_mm"])
    maps, _ = resample_tensor(load_image(tensor), load_image(mask), grid, load_transform(transform))
    arrays = {"FA": maps.fa, "MD": maps.md, "AD": maps.ad, "RD": maps.rd}
    arrays |= {"tensor": maps.tensor, "direction": maps.direction}
    for name, values in arrays.items():
        save_image(output[name], values, grid.affine)
        write_sidecar(
            output[name],
            step="resample_tensor",
            description=f"{KINDS[name].description}, in the space of the T1w image",
            sources=[tensor, mask, transform],
            settings=settings["align"],
            units=KINDS[name].unit,
        )
