"""The diffusion tensor by weighted least squares, batched over voxels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from scan2map.errors import DataError
from scan2map.preprocess.dwi.gradients import GradientTable

# Signals below this share of the brain's median b = 0 signal are noise; the logarithm needs a floor.
SIGNAL_FLOOR = 1e-3
# Rows and columns of the six elements Dxx, Dxy, Dxz, Dyy, Dyz, Dzz (FSL's order).
ROWS, COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
FULL = (0, 1, 2, 1, 3, 4, 2, 4, 5)


class TensorMaps(NamedTuple):
    """Tensor and its scalars per voxel; diffusivities in mm2/s.

    Attributes:
        tensor: (..., 6) Dxx, Dxy, Dxz, Dyy, Dyz, Dzz in the axes of the directions that were given.
        s0: (...) signal without diffusion weighting.
        eigenvalues: (..., 3) largest first, clipped at the smallest diffusivity that the b-values can see.
        direction: (..., 3) unit eigenvector of the largest eigenvalue.
    """

    tensor: np.ndarray
    s0: np.ndarray
    eigenvalues: np.ndarray
    direction: np.ndarray

    @property
    def md(self) -> np.ndarray:
        """Mean diffusivity, mm2/s."""
        return self.eigenvalues.mean(-1)

    @property
    def ad(self) -> np.ndarray:
        """Axial diffusivity, mm2/s."""
        return self.eigenvalues[..., 0]

    @property
    def rd(self) -> np.ndarray:
        """Radial diffusivity, mm2/s."""
        return self.eigenvalues[..., 1:].mean(-1)

    @property
    def fa(self) -> np.ndarray:
        """Fractional anisotropy, 0 to 1 (Basser and Pierpaoli 1996)."""
        return fractional_anisotropy(self.eigenvalues)


def fractional_anisotropy(eigenvalues: np.ndarray) -> np.ndarray:
    """FA = sqrt(3/2) |lambda - mean| / |lambda|; 0 where all eigenvalues are 0 (Basser and Pierpaoli 1996)."""
    deviation = np.linalg.norm(eigenvalues - eigenvalues.mean(-1, keepdims=True), axis=-1)
    length = np.linalg.norm(eigenvalues, axis=-1)
    return np.sqrt(1.5) * deviation / np.where(length > 0, length, 1)


def design_matrix(b_values: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """log S = X (Dxx, Dxy, Dxz, Dyy, Dyz, Dzz, log S0) with X = [-b g_i g_j (2 off the diagonal), 1].

    Args:
        b_values: (t,), s/mm2.
        directions: (t, 3) unit vectors.

    Returns:
        (t, 7).
    """
    multiplicity = np.array([1, 2, 2, 1, 2, 1])
    products = multiplicity * directions[:, ROWS] * directions[:, COLUMNS]
    return np.column_stack([-b_values[:, None] * products, np.ones(len(b_values))])


def _weighted_solution(log_signal: torch.Tensor, weights: torch.Tensor, design: torch.Tensor) -> torch.Tensor:
    """Solve min |w (log S - X beta)| per voxel by normal equations; (n, t), (n, t), (t, p) to (n, p)."""
    parameters = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    squared = weights**2
    normal = (squared @ products).reshape(-1, parameters, parameters)
    return torch.linalg.solve(normal, ((squared * log_signal) @ design)[..., None])[..., 0]


def _iterated_wls(signal: torch.Tensor, design: torch.Tensor, reweightings: int) -> torch.Tensor:
    """Ordinary least squares of log S, then weights = the signal that the last solution predicts."""
    scale = design.abs().amax(0)
    scaled = design / scale
    log_signal = signal.log()
    solution = log_signal @ torch.linalg.pinv(scaled).T
    for _ in range(reweightings):
        predicted = solution @ scaled.T
        weights = (predicted - predicted.amax(1, keepdim=True)).exp()
        solution = _weighted_solution(log_signal, weights, scaled)
    return solution / scale


def fit_wls(
    signal: np.ndarray, design: np.ndarray, *, reweightings: int = 1, chunk: int = 32768, device: str = "cpu"
) -> np.ndarray:
    """Log-linear weighted least squares.

    Args:
        signal: (n, t), positive.
        design: (t, p) of :func:`design_matrix`.
        reweightings: 1 is the two-pass fit (Salvador et al. 2005, Hum Brain Mapp 24:144; dipy's ``WLS``), more are
            iterated (Veraart et al. 2013, NeuroImage 81:335; MRtrix3's ``dwi2tensor -ols -iter``).
        chunk: voxels solved at a time (memory: about 100 bytes x t per voxel).
        device: torch device.

    Returns:
        (n, p) parameters, float64.
    """
    model = torch.as_tensor(design, dtype=torch.float64, device=device)
    parts = [
        _iterated_wls(torch.as_tensor(part, dtype=torch.float64, device=device), model, reweightings).cpu().numpy()
        for part in np.array_split(signal, max(1, -(-len(signal) // chunk)))
    ]
    return np.concatenate(parts)


def decompose(tensor: np.ndarray, min_diffusivity: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n, 3), largest first, clipped from below, and the principal eigenvector (n, 3)."""
    matrices = torch.as_tensor(tensor[:, FULL].reshape(-1, 3, 3))
    values, vectors = torch.linalg.eigh(matrices)
    return values.flip(-1).clamp(min=min_diffusivity).numpy(), vectors[..., -1].numpy()


def fit_tensor(
    data: np.ndarray, mask: np.ndarray, gradients: GradientTable, affine: np.ndarray, device: str = "cpu"
) -> TensorMaps:
    """Fit the tensor in every voxel of a mask, in world RAS axes.

    Args:
        data: (x, y, z, t).
        mask: (x, y, z), boolean.
        gradients: table of the t volumes.
        affine: voxel to world, 4x4.
        device: torch device.

    Returns:
        Maps on the image grid, zero outside the mask.
    """
    design = design_matrix(gradients.b_values, gradients.world_directions(affine))
    signal = data[mask].astype(np.float64)
    signal = np.maximum(signal, signal_floor(signal, gradients))
    parameters = fit_wls(signal, design, device=device)
    eigenvalues, direction = decompose(parameters[:, :6], -1e-6 / design.min())
    values = (parameters[:, :6], np.exp(parameters[:, 6]), eigenvalues, direction)
    return TensorMaps(*(_on_grid(value, mask) for value in values))


def signal_floor(signal: np.ndarray, gradients: GradientTable) -> float:
    """The smallest signal whose logarithm is taken: a share of the median b = 0 signal.

    Raises:
        DataError: there is no positive b = 0 signal in the mask.
    """
    level = float(np.median(signal[:, gradients.is_b0])) if signal.size else 0.0
    if not level > 0:
        raise DataError(
            "There is no b = 0 signal inside the brain mask", found=f"median {level:g}", remedy="check the brain mask"
        )
    return SIGNAL_FLOOR * level


def _on_grid(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    grid = np.zeros((*mask.shape, *values.shape[1:]), np.float32)
    grid[mask] = values
    return grid


def tensor_volumes(gradients: GradientTable, max_b_value: float) -> np.ndarray:
    """Which volumes the tensor is fitted to, (t,) boolean.

    b = 0 and the shells up to ``max_b_value`` if those hold six independent directions or more; the whole table
    otherwise (a scan with one high shell only).
    """
    chosen = gradients.shells <= max_b_value
    low = design_matrix(gradients.b_values, gradients.b_vectors)[chosen & ~gradients.is_b0, :6]
    enough = len(low) >= 6 and np.linalg.matrix_rank(low / np.abs(low).max()) == 6
    return chosen if enough else np.ones(len(gradients), bool)
