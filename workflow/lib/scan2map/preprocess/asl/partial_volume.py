"""Partial-volume correction of perfusion by local linear regression."""

from __future__ import annotations

import numpy as np

from scan2map.images import Image

# Voxels that take part have at least this much perfused tissue.
LEAST_TISSUE = 0.1
# Share of the tissue added to the diagonal of the normal equations: a neighbourhood of one tissue stays solvable.
RIDGE = 1e-4


def tissue_perfusion(
    cbf: np.ndarray, mask: np.ndarray, gm: np.ndarray, wm: np.ndarray, affine: np.ndarray, width_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Perfusion of pure grey and pure white matter around each voxel.

    In a cubic neighbourhood perfusion is modelled as gm · CBF_GM + wm · CBF_WM and solved by least squares.

    Args:
        cbf: (x, y, z) ml/100g/min.
        mask: brain.
        gm, wm: tissue fractions.
        affine: of the grid.
        width_mm: edge length of the neighbourhood, mm; at least three voxels in the slice.

    Returns:
        CBF of grey and of white matter (x, y, z); 0 where the neighbourhood does not hold that tissue.

    Source: Asllani, Borogovac and Brown 2008, MRM 60:1362.
    """
    from scipy.ndimage import uniform_filter

    size = np.maximum(1, 2 * (np.round(width_mm / Image(cbf, affine).voxel_size_mm).astype(int) // 2) + 1)
    size[:2] = np.maximum(size[:2], 3)
    used = mask & (gm + wm > LEAST_TISSUE)

    def local(values: np.ndarray) -> np.ndarray:
        return uniform_filter(np.where(used, values, 0).astype(np.float64), size=size.tolist(), mode="constant")

    gg, gw, ww, gy, wy = local(gm * gm), local(gm * wm), local(wm * wm), local(gm * cbf), local(wm * cbf)
    ridge = RIDGE * (gg + ww) + 1e-12
    gg, ww = gg + ridge, ww + ridge
    determinant = gg * ww - gw * gw
    grey = np.where(mask, (ww * gy - gw * wy) / determinant, 0)
    white = np.where(mask, (gg * wy - gw * gy) / determinant, 0)
    return grey.astype(np.float32), white.astype(np.float32)


def correct_partial_volume(
    cbf: np.ndarray, mask: np.ndarray, tissues: dict[str, np.ndarray], affine: np.ndarray, settings: dict
) -> np.ndarray:
    """Perfusion per perfused tissue: the pure-tissue perfusions weighted by the voxel's shares of GM and WM.

    Args:
        cbf: (x, y, z) ml/100g/min.
        mask: brain.
        tissues: fractions of GM and WM.
        affine: of the grid.
        settings: block ``asl.partial_volume``: ``method`` ``none`` or ``regression``, ``width_mm``.

    Returns:
        The map itself for ``none``; else the corrected map, 0 where less than a tenth of the voxel is perfused tissue.
    """
    if settings["method"] == "none":
        return cbf
    gm, wm = tissues["GM"], tissues["WM"]
    grey, white = tissue_perfusion(cbf, mask, gm, wm, affine, settings["width_mm"])
    tissue = gm + wm
    weighted = (gm * grey + wm * white) / np.maximum(tissue, LEAST_TISSUE)
    return np.where(mask & (tissue > LEAST_TISSUE), weighted, 0).astype(np.float32)
