"""The array library of the arguments: signal models run on NumPy arrays and torch tensors alike."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np


def array_namespace(*arrays) -> ModuleType:
    """``torch`` if any argument is a tensor, else ``numpy`` (torch is not imported for it)."""
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(array, torch.Tensor) for array in arrays):
        return torch
    return np


def as_arrays(*values) -> tuple:
    """The values in one library: tensors of the first tensor's type and device, else NumPy arrays.

    Plain numbers stay plain numbers with NumPy, so that they do not widen float32 arrays.
    """
    xp = array_namespace(*values)
    if xp is np:
        return tuple(value if isinstance(value, int | float) else np.asarray(value) for value in values)
    like = next(value for value in values if isinstance(value, xp.Tensor))
    return tuple(xp.as_tensor(value, dtype=like.dtype, device=like.device) for value in values)
