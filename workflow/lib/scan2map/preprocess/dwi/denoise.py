"""Thermal noise and Gibbs ringing, removed before anything is interpolated (through DIPY)."""

from __future__ import annotations

import numpy as np


def clean(data: np.ndarray, settings: dict) -> np.ndarray:
    """Apply the cleaning steps that the settings name, noise first.

    Args:
        data: (x, y, z, t) of one series.
        settings: ``denoising`` (``none`` or ``mppca``) and ``gibbs_removal`` (boolean).
    """
    if settings["denoising"] == "mppca":
        data = remove_noise(data)
    return remove_ringing(data) if settings["gibbs_removal"] else data


def remove_noise(data: np.ndarray, patch_radius: int = 2) -> np.ndarray:
    """Marchenko-Pastur PCA of local patches (Veraart et al. 2016, NeuroImage 142:394), float32."""
    from dipy.denoise.localpca import mppca

    return np.asarray(mppca(data.astype(np.float32), patch_radius=patch_radius), dtype=np.float32)


def remove_ringing(data: np.ndarray) -> np.ndarray:
    """Sub-voxel shifts per axial slice (Kellner et al. 2016, Magn Reson Med 76:1574), float32."""
    from dipy.denoise.gibbs import gibbs_removal

    return np.asarray(gibbs_removal(data.astype(np.float32), slice_axis=2, inplace=False), dtype=np.float32)
