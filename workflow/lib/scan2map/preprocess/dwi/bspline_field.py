"""A smooth scalar field on a cubic B-spline grid: its values, derivatives and bending energy.

All operators are products of one small matrix per axis, so that a field of 10^5 coefficients is evaluated in a few
milliseconds. Knots are equally spaced, the first and last interior ones on the edge voxels, and the coefficient grid
reaches one knot beyond them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

QUADRATURE_POINTS_PER_VOXEL = 6


def _cubic_spline(distance: np.ndarray, derivative: int) -> np.ndarray:
    """Cubic B-spline or its first or second derivative at a distance from its centre, in knot spacings."""
    size, sign = np.abs(distance), np.sign(distance)
    near, far = size < 1, (size >= 1) & (size < 2)
    if derivative == 0:
        return near * (2 / 3 - size**2 + size**3 / 2) + far * (2 - size) ** 3 / 6
    if derivative == 1:
        return sign * (near * (1.5 * size**2 - 2 * size) - far * (2 - size) ** 2 / 2)
    return near * (3 * size - 2) + far * (2 - size)


def basis_matrix(positions: np.ndarray, length: int, spacing: float, derivative: int = 0) -> np.ndarray:
    """Value (or derivative per voxel) of each spline of an axis at given positions.

    Args:
        positions: where, in voxels, shape (p,).
        length: voxels along the axis.
        spacing: wanted knot spacing in voxels; the largest not above it that divides the axis evenly is taken.
        derivative: 0, 1 or 2.

    Returns:
        Matrix of shape (p, coefficients).
    """
    extent = max(length - 1, 1)
    intervals = int(np.ceil(extent / spacing - 1e-9))
    knots = np.arange(intervals + 3) - 1
    distance = np.asarray(positions, dtype=float)[:, None] * intervals / extent - knots
    return _cubic_spline(distance, derivative) * (intervals / extent) ** derivative


def _gram_matrices(length: int, spacing: float) -> list[np.ndarray]:
    """Integrals over the axis of the products of the splines' values, slopes and curvatures."""
    points = max(length - 1, 1) * QUADRATURE_POINTS_PER_VOXEL
    step = max(length - 1, 1) / points
    middles = (np.arange(points) + 0.5) * step
    bases = [basis_matrix(middles, length, spacing, derivative) for derivative in (0, 1, 2)]
    return [basis.T @ basis * step for basis in bases]


def apply_axis(matrix: torch.Tensor, volume: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply every line of a (x, y, z) volume along one axis by a matrix of shape (out, in)."""
    if axis == 0:
        return (matrix @ volume.reshape(volume.shape[0], -1)).reshape(-1, *volume.shape[1:])
    if axis == 1:
        return matrix @ volume
    return volume @ matrix.T


class BSplineField:
    """The linear maps of one coefficient grid, sampled on one (possibly strided) voxel grid.

    Args:
        shape: full voxel grid (x, y, z).
        positions: per axis, the voxel positions at which the field is sampled.
        spacing: per axis, knot spacing in voxels.
        voxel_size_mm: edge lengths of a voxel; the bending energy is per mm.
        derivative_axes: axes along which the first derivative is also needed.
        dtype: precision.
        device: torch device.
    """

    def __init__(
        self,
        shape: Sequence[int],
        positions: Sequence[np.ndarray],
        spacing: Sequence[float],
        voxel_size_mm: Sequence[float],
        derivative_axes: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ):
        self._kind = {"dtype": dtype, "device": device}
        self.derivative_axes = tuple(derivative_axes)
        self._shared = tuple(axis for axis in range(3) if axis not in self.derivative_axes)
        tables = list(zip(positions, shape, spacing, strict=True))
        self._values = [self._tensor(basis_matrix(*table)) for table in tables]
        self._slopes = [self._tensor(basis_matrix(*table, derivative=1)) for table in tables]
        curves = [basis_matrix(*table, derivative=2) for table in tables]
        self._curves = [self._tensor(c / size**2) for c, size in zip(curves, voxel_size_mm, strict=True)]
        self.shape = tuple(matrix.shape[1] for matrix in self._values)
        grams = [_gram_matrices(length, step) for length, step in zip(shape, spacing, strict=True)]
        self._energy = [
            [self._tensor(gram / size ** (2 * order)) for order, gram in enumerate(axis)]
            for axis, size in zip(grams, voxel_size_mm, strict=True)
        ]

    def _tensor(self, matrix: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(matrix, **self._kind)

    def zeros(self) -> torch.Tensor:
        """Coefficients of a field that is zero everywhere."""
        return torch.zeros(self.shape, **self._kind)

    def fit(self, samples: torch.Tensor) -> torch.Tensor:
        """Coefficients of the spline nearest (least squares) to samples at the positions."""
        coefficients = samples
        for axis in range(3):
            inverse = np.linalg.pinv(self._values[axis].double().cpu().numpy(), rcond=1e-6)
            coefficients = apply_axis(self._tensor(inverse), coefficients, axis)
        return coefficients

    def _matrix(self, axis: int, derivative_axis: int | None) -> torch.Tensor:
        return self._slopes[axis] if axis == derivative_axis else self._values[axis]

    def value(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The field at the positions."""
        return self.slope(coefficients, None)

    def slope(self, coefficients: torch.Tensor, derivative_axis: int | None) -> torch.Tensor:
        """The derivative per voxel along one axis at the positions."""
        for axis in (2, 1, 0):
            coefficients = apply_axis(self._matrix(axis, derivative_axis), coefficients, axis)
        return coefficients

    def components(self, coefficients: torch.Tensor) -> list[torch.Tensor]:
        """The field and its derivative along each derivative axis, at the positions."""
        for axis in self._shared:
            coefficients = apply_axis(self._values[axis], coefficients, axis)
        results = []
        for wanted in (None, *self.derivative_axes):
            result = coefficients
            for axis in self.derivative_axes:
                result = apply_axis(self._matrix(axis, wanted), result, axis)
            results.append(result)
        return results

    def adjoint(self, components: Sequence[torch.Tensor]) -> torch.Tensor:
        """The transpose of :meth:`components`: a vector of coefficients."""
        total = None
        for wanted, result in zip((None, *self.derivative_axes), components, strict=True):
            for axis in self.derivative_axes:
                result = apply_axis(self._matrix(axis, wanted).T, result, axis)
            total = result if total is None else total + result
        for axis in reversed(self._shared):
            total = apply_axis(self._values[axis].T, total, axis)
        return total

    def diagonal(self, weights: dict[tuple[int, int], torch.Tensor]) -> torch.Tensor:
        """Diagonal of sum_kl C_k^T diag(w_kl) C_l over the components C_k; ``weights`` holds k <= l only."""
        derivatives = (None, *self.derivative_axes)
        total = self.zeros()
        for (first, second), weight in weights.items():
            part = weight if first == second else 2 * weight
            for axis in range(3):
                product = self._matrix(axis, derivatives[first]) * self._matrix(axis, derivatives[second])
                part = apply_axis(product.T, part, axis)
            total = total + part
        return total

    def laplacian(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The Laplacian of the field per mm^2 at the positions."""
        flat, curve = apply_axis(self._values[2], coefficients, 2), apply_axis(self._curves[2], coefficients, 2)
        curve = apply_axis(self._values[1], curve, 1) + apply_axis(self._curves[1], flat, 1)
        flat = apply_axis(self._values[1], flat, 1)
        return apply_axis(self._values[0], curve, 0) + apply_axis(self._curves[0], flat, 0)

    def laplacian_adjoint(self, values: torch.Tensor) -> torch.Tensor:
        """The transpose of :meth:`laplacian`."""
        flat, curve = apply_axis(self._values[0].T, values, 0), apply_axis(self._curves[0].T, values, 0)
        curve = apply_axis(self._values[1].T, curve, 1) + apply_axis(self._curves[1].T, flat, 1)
        flat = apply_axis(self._values[1].T, flat, 1)
        return apply_axis(self._values[2].T, curve, 2) + apply_axis(self._curves[2].T, flat, 2)

    def laplacian_diagonal(self, weight: torch.Tensor) -> torch.Tensor:
        """Diagonal of L^T diag(weight) L, with L the Laplacian."""
        total = self.zeros()
        for first, second in product(range(3), repeat=2):
            part = weight
            for axis in range(3):
                left = self._curves[axis] if axis == first else self._values[axis]
                right = self._curves[axis] if axis == second else self._values[axis]
                part = apply_axis((left * right).T, part, axis)
            total = total + part
        return total

    def bending(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Gradient of half the bending energy: its symmetric matrix times the coefficients.

        Bending energy: sum over voxels of the squared second derivatives per mm^2, mixed ones twice.
        """
        x, y, z = self._energy
        flat, slope, curve = (apply_axis(matrix, coefficients, 2) for matrix in z)
        first = apply_axis(y[0], flat, 1)
        second = 2 * (apply_axis(y[1], flat, 1) + apply_axis(y[0], slope, 1))
        third = apply_axis(y[2], flat, 1) + apply_axis(y[0], curve, 1) + 2 * apply_axis(y[1], slope, 1)
        return apply_axis(x[2], first, 0) + apply_axis(x[1], second, 0) + apply_axis(x[0], third, 0)

    def bending_diagonal(self) -> torch.Tensor:
        """Diagonal of the bending-energy matrix."""
        x, y, z = ([matrix.diagonal() for matrix in axis] for axis in self._energy)
        outer = lambda a, b, c: torch.einsum("i,j,k->ijk", a, b, c)  # noqa: E731
        pure = outer(x[2], y[0], z[0]) + outer(x[0], y[2], z[0]) + outer(x[0], y[0], z[2])
        return pure + 2 * (outer(x[1], y[1], z[0]) + outer(x[1], y[0], z[1]) + outer(x[0], y[1], z[1]))
