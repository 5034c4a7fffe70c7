"""Diffusion signals, tensors and their scalars.

Units: b-values in s/mm², diffusivities in mm²/s. Tensors as six elements on the last axis in the order
Dxx, Dxy, Dxz, Dyy, Dyz, Dzz. b-vectors and tensors share one set of axes.

References:
    [1] Basser, Mattiello, LeBihan, J Magn Reson B 103:247 (1994), diffusion tensor.
    [2] Henriques, Jespersen, Shemesh, NeuroImage 211:116605 (2020), mean signal kurtosis.
    [3] Behrens et al., Magn Reson Med 50:1077 (2003), ball and stick.
    [4] Basser, Pierpaoli, J Magn Reson B 111:209 (1996), fractional anisotropy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.physics.backend import array_namespace

ELEMENTS = ("Dxx", "Dxy", "Dxz", "Dyy", "Dyz", "Dzz")
FREE_WATER_DIFFUSIVITY_MM2_S = 3.0e-3  # water at 37 degrees C; Pasternak et al., MRM 62:717 (2009)


class TensorScalars(NamedTuple):
    """Fractional anisotropy (0 to 1), mean, axial and radial diffusivity (mm²/s)."""

    fa: np.ndarray
    md: np.ndarray
    ad: np.ndarray
    rd: np.ndarray


def outer_elements(vectors):
    """Six elements (..., 6) of the outer product n nᵀ of vectors (..., 3)."""
    xp = array_namespace(vectors)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return xp.stack([x * x, x * y, x * z, y * y, y * z, z * z], -1)


def quadratic_form(b_vectors):
    """Weights w (..., 6) with gᵀDg = D·w for six-element tensors D: the off-diagonal elements count twice."""
    xp = array_namespace(b_vectors)
    x, y, z = b_vectors[..., 0], b_vectors[..., 1], b_vectors[..., 2]
    return xp.stack([x * x, 2 * x * y, 2 * x * z, y * y, 2 * y * z, z * z], -1)


def tensor_signal(s0, tensor, b_values, b_vectors):
    """Signal of Gaussian diffusion, S = S0 exp(−b gᵀDg) [1].

    Args:
        s0: signal without diffusion weighting, (...,).
        tensor: (..., 6), mm²/s.
        b_values: (n,), s/mm².
        b_vectors: (n, 3) unit vectors; anything finite where b = 0.

    Returns:
        (..., n).
    """
    xp = array_namespace(tensor, s0)
    exponent = tensor @ (quadratic_form(b_vectors) * b_values[:, None]).T
    return s0[..., None] * xp.exp(-exponent)


def gaussian_mixture_signal(signal_fractions, tensors, b_values, b_vectors):
    """Signal of several Gaussian compartments without exchange, S = Σ s_c exp(−b gᵀD_c g).

    Args:
        signal_fractions: sequence of (...,) signals of each compartment at b = 0.
        tensors: sequence of (..., 6), mm²/s.
        b_values: (n,), s/mm².
        b_vectors: (n, 3).

    Returns:
        (..., n).
    """
    return sum(tensor_signal(s, d, b_values, b_vectors) for s, d in zip(signal_fractions, tensors, strict=True))


def cumulant_tensor(signal_fractions, tensors):
    """First cumulant of a Gaussian mixture: the tensor −∂ln S/∂b at b = 0, Σ s_c D_c / Σ s_c.

    Args:
        signal_fractions: sequence of (...,) signals at b = 0; where all are 0 the result is 0.
        tensors: sequence of (..., 6).
    """
    xp = array_namespace(*signal_fractions)
    total = sum(signal_fractions)
    mean = sum(s[..., None] * d for s, d in zip(signal_fractions, tensors, strict=True))
    safe = xp.where(total > 0, total, xp.ones_like(total))
    return mean / safe[..., None]


def tensor_matrix(elements):
    """Symmetric matrices (..., 3, 3) of six-element tensors (..., 6)."""
    xp = array_namespace(elements)
    xx, xy, xz, yy, yz, zz = (elements[..., index] for index in range(6))
    return xp.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], -1).reshape(*elements.shape[:-1], 3, 3)


def tensor_elements(matrix):
    """Six elements (..., 6) of symmetric matrices (..., 3, 3)."""
    xp = array_namespace(matrix)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    return xp.stack([matrix[..., row, column] for row, column in pairs], -1)


def rotate_tensor(elements, rotation):
    """Tensors in turned axes, R D Rᵀ.

    Args:
        elements: (..., 6).
        rotation: (3, 3), takes old directions to new ones.
    """
    return tensor_elements(rotation @ tensor_matrix(elements) @ rotation.T)


def isotropic_tensor(diffusivity):
    """Six elements (..., 6) of d·I for d of shape (...,), mm²/s."""
    xp = array_namespace(diffusivity)
    zero = xp.zeros_like(diffusivity)
    return xp.stack([diffusivity, zero, zero, diffusivity, zero, diffusivity], -1)


def axially_symmetric_tensor(direction, axial, radial):
    """Tensor with one axis, D = d⊥ I + (d∥ − d⊥) n nᵀ.

    Args:
        direction: (..., 3) unit vectors n.
        axial: d∥, mm²/s, (...,).
        radial: d⊥, mm²/s, (...,).
    """
    return isotropic_tensor(radial) + (axial - radial)[..., None] * outer_elements(direction)


def tensor_scalars(elements) -> TensorScalars:
    """FA, MD, AD and RD of tensors (..., 6).

    MD = tr(D)/3, FA = √(3/2) ‖D − MD·I‖ / ‖D‖ (0 where D = 0), AD the largest eigenvalue, RD the mean of the other
    two [4]. Eigenvalues are used as they are: a negative one is not clipped.
    """
    xp = array_namespace(elements)
    values = xp.linalg.eigvalsh(tensor_matrix(elements))
    md = values.mean(-1)
    norm = xp.sqrt((values**2).sum(-1))
    deviation = xp.sqrt(((values - md[..., None]) ** 2).sum(-1))
    fa = 1.5**0.5 * deviation / xp.where(norm > 0, norm, xp.ones_like(norm))
    return TensorScalars(fa, md, values[..., 2], values[..., :2].mean(-1))


def principal_direction(elements):
    """Unit eigenvector (..., 3) of the largest eigenvalue; its sign has no meaning."""
    xp = array_namespace(elements)
    return xp.linalg.eigh(tensor_matrix(elements))[1][..., :, 2]


def log_linear_design(b_values, b_vectors):
    """Design matrix A (n, 7) of ln S = A·(ln S0, D) for the tensor model [1]."""
    xp = array_namespace(b_values)
    return xp.concatenate([xp.ones_like(b_values)[:, None], -b_values[:, None] * quadratic_form(b_vectors)], 1)


def mean_signal_kurtosis(s0, diffusivity, kurtosis, b_values):
    """Direction-averaged signal of a shell, S = S0 exp(−bD + b²D²K/6) [2].

    A cumulant expansion: it turns upwards at b = 3/(DK) and describes the signal only well below.

    Args:
        s0, diffusivity, kurtosis: (...,), signal, mm²/s and no unit.
        b_values: (n,) shells, s/mm².

    Returns:
        (..., n).
    """
    xp = array_namespace(diffusivity, s0)
    attenuation = b_values * diffusivity[..., None]
    return s0[..., None] * xp.exp(-attenuation + attenuation**2 * kurtosis[..., None] / 6)


def mean_signal_cumulants(signal_fractions, tensors):
    """D and K of the direction-averaged signal of a Gaussian mixture, from its first two cumulants at b = 0 [2].

    With d = gᵀDg over compartments (weights s) and all directions g: D = E[d] = Σ s tr(D)/3 and K = 3 Var(d)/D²,
    E[d²] = Σ s (tr(D)² + 2 tr(D²))/15.

    Args:
        signal_fractions: sequence of (...,) signals at b = 0, not all 0.
        tensors: sequence of (..., 6), mm²/s.

    Returns:
        D (...,) in mm²/s and K (...,).
    """
    total, mean, square = sum(signal_fractions), 0, 0
    for weight, tensor in zip(signal_fractions, tensors, strict=True):
        trace = tensor[..., 0] + tensor[..., 3] + tensor[..., 5]
        squares = tensor**2
        norm = 2 * squares.sum(-1) - squares[..., 0] - squares[..., 3] - squares[..., 5]
        mean = mean + weight * trace / 3
        square = square + weight * (trace**2 + 2 * norm) / 15
    mean, square = mean / total, square / total
    return mean, 3 * (square / mean**2 - 1)


def free_water_kurtosis(s0, diffusivity, kurtosis, water_fraction, b_values):
    """Mean-signal kurtosis of tissue beside free water: (1−w)·tissue + w·exp(−b D_w), D_w = 3e-3 mm²/s."""
    xp = array_namespace(diffusivity, s0)
    water = s0[..., None] * xp.exp(-b_values * FREE_WATER_DIFFUSIVITY_MM2_S)
    tissue = mean_signal_kurtosis(s0, diffusivity, kurtosis, b_values)
    return tissue + water_fraction[..., None] * (water - tissue)


def ball_stick_signal(s0, stick_fraction, ball_diffusivity, stick_diffusivity, direction, b_values, b_vectors):
    """Ball and one stick, S/S0 = (1−f) exp(−b D_iso) + f exp(−b D∥ (g·n)²) [3].

    Args:
        s0, stick_fraction, ball_diffusivity, stick_diffusivity: (...,).
        direction: (..., 3) unit vectors n.
        b_values: (n,), s/mm².
        b_vectors: (n, 3).

    Returns:
        (..., n).
    """
    xp = array_namespace(direction, s0)
    along = (direction @ b_vectors.T) ** 2
    ball = xp.exp(-b_values * ball_diffusivity[..., None])
    stick = xp.exp(-b_values * stick_diffusivity[..., None] * along)
    return s0[..., None] * (ball + stick_fraction[..., None] * (stick - ball))
