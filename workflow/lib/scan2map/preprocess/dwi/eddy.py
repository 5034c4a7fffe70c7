"""Eddy-current field: a quadratic polynomial in scanner coordinates, in Hz.

The field adds to the susceptibility field, so it shifts the image along the phase-encoding axis only. Unlike the
susceptibility field it belongs to the scanner, not to the head (Andersson and Sotiropoulos 2016, NeuroImage 125:1063).
"""

from __future__ import annotations

import numpy as np
import torch

# Order of the coefficients, as in FSL eddy's quadratic model: Hz/mm, Hz/mm2, Hz.
TERMS = ("x", "y", "z", "xx", "yy", "zz", "xy", "xz", "yz", "offset")
OFFSET = TERMS.index("offset")
_FACTORS = [["xyz".index(letter) for letter in term] for term in TERMS[:OFFSET]]


def centred_mm(voxels: torch.Tensor, shape, voxel_size_mm) -> torch.Tensor:
    """Position along the voxel axes from the centre of the grid, mm; voxels and result (3, n)."""
    centre = torch.as_tensor([(length - 1) / 2 for length in shape[:3]]).to(voxels)
    return (voxels - centre[:, None]) * torch.as_tensor(np.asarray(voxel_size_mm)).to(voxels)[:, None]


def eddy_basis(position_mm: torch.Tensor) -> torch.Tensor:
    """The ten polynomials at positions (3, n), shape (10, n)."""
    products = [position_mm[factors].prod(0) for factors in _FACTORS]
    return torch.stack([*products, torch.ones_like(position_mm[0])])


def eddy_basis_slope(position_mm: torch.Tensor, axis: int) -> torch.Tensor:
    """Derivative of the ten polynomials along one voxel axis, per mm, shape (10, n)."""
    slopes = []
    for factors in _FACTORS:
        rest = [factor for factor in factors if factor != axis]
        times = len(factors) - len(rest)
        other = position_mm[rest[0]] if rest else torch.ones_like(position_mm[0])
        power = {0: torch.zeros_like(other), 1: other, 2: 2 * position_mm[axis]}[times]
        slopes.append(power)
    return torch.stack([*slopes, torch.zeros_like(position_mm[0])])


def eddy_field(coefficients, position_mm: torch.Tensor) -> torch.Tensor:
    """Field at positions (3, n), Hz, shape (n,)."""
    return torch.as_tensor(np.asarray(coefficients)).to(position_mm) @ eddy_basis(position_mm)
