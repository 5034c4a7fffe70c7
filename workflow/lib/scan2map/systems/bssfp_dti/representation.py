"""How a diffusion tensor enters and leaves the networks, and how it turns and flips with the image.

A representation is six numbers per voxel, linear in a symmetric matrix (the tensor itself, or its logarithm), scaled to
about 0 to 1 by constants of the training part, diagonal and off-diagonal elements apart. Arrays are channel-first torch
tensors (…, 6, x, y, z); diffusivities in 1e-3 mm²/s along the axes of the grid.

Source: Arsigny et al. 2006, Magn Reson Med 56:411 (log-Euclidean framework).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from scan2map.physics.diffusion import rotate_tensor, tensor_elements, tensor_matrix

DIAGONAL, OFF_DIAGONAL = (0, 3, 5), (1, 2, 4)
AXES_OF_ELEMENT = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
# Eigenvalues below this (1e-3 mm²/s) are noise: the logarithm needs positive ones.
SMALLEST_EIGENVALUE = 0.05
LOG_PERCENTILES = (0.1, 99.9)


def _eigen(elements: torch.Tensor, change) -> torch.Tensor:
    """Apply a function to the eigenvalues of matrices (n, 6)."""
    values, vectors = torch.linalg.eigh(tensor_matrix(elements.double()))
    return tensor_elements(vectors @ (change(values)[..., None] * vectors.mT)).to(elements.dtype)


def log_tensor(elements: torch.Tensor) -> torch.Tensor:
    """Matrix logarithm of tensors (n, 6) in 1e-3 mm²/s, eigenvalues clipped from below."""
    return _eigen(elements, lambda values: values.clamp_min(SMALLEST_EIGENVALUE).log())


def exp_tensor(logarithm: torch.Tensor) -> torch.Tensor:
    """Tensors (n, 6) of matrix logarithms: positive definite whatever the argument is."""
    return _eigen(logarithm, torch.exp)


def scaling(tensors: Sequence[np.ndarray], logarithmic: bool) -> dict[str, list[float]]:
    """Lowest and highest value of the two kinds of elements over the training voxels.

    Args:
        tensors: measured tensors (n, 6) of each subject, inside the brain.
        logarithmic: of the logarithms, robust percentiles; else the extremes, as the document has it.

    Returns:
        ``diagonal`` and ``off_diagonal`` (symmetric about 0), each [low, high].
    """
    values = np.concatenate(tensors).astype(np.float32)
    if logarithmic:
        values = log_tensor(torch.from_numpy(values)).numpy()
    low, high = LOG_PERCENTILES if logarithmic else (0, 100)
    largest = float(np.percentile(np.abs(values[:, OFF_DIAGONAL]), high))
    ends = [float(np.percentile(values[:, DIAGONAL], end)) for end in (low, high)]
    return {"diagonal": ends, "off_diagonal": [-largest, largest]}


def _voxelwise(function, elements: torch.Tensor) -> torch.Tensor:
    """Apply a function of (n, 6) to (…, 6, x, y, z)."""
    last = elements.movedim(-4, -1)
    return function(last.reshape(-1, 6)).reshape(last.shape).movedim(-1, -4)


def to_matrices(tensors: torch.Tensor, kind: str) -> torch.Tensor:
    """What is learned, unscaled, of tensors (…, 6, x, y, z): their logarithms, or themselves."""
    return _voxelwise(log_tensor, tensors) if kind == "log" else tensors


class Representation:
    """Scaled tensor elements or scaled elements of the logarithm.

    Args:
        kind: ``log`` (positive definite) or ``raw`` (the document's).
        constants: from :func:`scaling`.
    """

    def __init__(self, kind: str, constants: Mapping[str, Sequence[float]]):
        self.kind = kind
        ends = [constants["diagonal" if index in DIAGONAL else "off_diagonal"] for index in range(6)]
        self.low = torch.tensor([end[0] for end in ends]).view(6, 1, 1, 1)
        self.span = torch.tensor([end[1] - end[0] for end in ends]).view(6, 1, 1, 1)

    def scale(self, matrices: torch.Tensor) -> torch.Tensor:
        """Elements (of tensors or logarithms) (…, 6, x, y, z) to about 0 to 1."""
        return (matrices - self.low.to(matrices.device)) / self.span.to(matrices.device)

    def unscale(self, scaled: torch.Tensor) -> torch.Tensor:
        """Inverse of :meth:`scale`."""
        return scaled * self.span.to(scaled.device) + self.low.to(scaled.device)

    def encode(self, tensors: torch.Tensor) -> torch.Tensor:
        """Network values of tensors (…, 6, x, y, z)."""
        return self.scale(to_matrices(tensors, self.kind))

    def decode(self, scaled: torch.Tensor) -> torch.Tensor:
        """Tensors (…, 6, x, y, z) of network values."""
        values = self.unscale(scaled)
        return _voxelwise(exp_tensor, values) if self.kind == "log" else values


def flip_elements(matrices: torch.Tensor, axis: int) -> torch.Tensor:
    """Elements (…, 6, x, y, z) of a mirrored image: the two off-diagonals with that axis change their sign."""
    signs = [-1.0 if (first == axis) != (second == axis) else 1.0 for first, second in AXES_OF_ELEMENT]
    return matrices * torch.tensor(signs).view(6, 1, 1, 1)


def turn_elements(matrices: torch.Tensor, rotation: np.ndarray) -> torch.Tensor:
    """Elements (…, 6, x, y, z) of a turned image: R D Rᵀ in every voxel."""
    turned = rotate_tensor(matrices.movedim(-4, -1), torch.as_tensor(rotation, dtype=matrices.dtype))
    return turned.movedim(-1, -4)


def grid_axes(affine: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) from the axes of a grid to world axes; the grid must not be mirrored.

    Raises:
        ValueError: the affine is mirrored or sheared.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3) or np.linalg.det(axes) < 0:
        raise ValueError("the grid's axes are not a rotation")
    return axes
