"""Off-resonance at 3 T from the susceptibility of tissue, bone and air, after shimming."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from scan2map.phantom.anatomy import build_head, subject_grid
from scan2map.phantom.deformation import Warp
from scan2map.phantom.grid import Grid, regrid

FIELD_STRENGTH_T = 3.0
GYROMAGNETIC_RATIO_HZ_PER_T = 42.577478518e6
# Volume susceptibility (SI, ppm).
AIR_PPM, TISSUE_PPM, BONE_PPM = 0.36, -9.05, -11.3
LATTICE_MM = 4.0
# The neck and shoulders go on below the grid: without them its lower face would be a magnet.
NECK_SLICES = 24
# Signal dephases within a millimetre or two of an air space; its extreme field is not seen.
SMOOTHING_MM = 4.5
BRAIN_SHARE = 0.5


def dipole_field(susceptibility: np.ndarray) -> np.ndarray:
    """Relative field change along B0 (z) of a susceptibility map, with the Lorentz sphere taken out.

    ΔB/B0 = FT⁻¹[(1/3 - kz²/k²) FT χ], the k = 0 term set to 0; the map is padded to twice its size.

    Args:
        susceptibility: (x, y, z) on isotropic voxels, relative to the surroundings, any unit; the result has that unit.

    Source:
        Marques JP, Bowtell R (2005), Concepts Magn Reson B 25:65-78; Salomir R et al. (2003), ibid. 19:26-34.
    """
    shape = [fft.next_fast_len(2 * n, real=True) for n in susceptibility.shape]
    kx, ky, kz = np.meshgrid(
        np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]), indexing="ij", sparse=True
    )
    square = kx**2 + ky**2 + kz**2
    square[0, 0, 0] = 1
    kernel = (1 / 3 - kz**2 / square).astype(np.float32)
    kernel[0, 0, 0] = 0
    spectrum = fft.rfftn(susceptibility.astype(np.float32), shape) * kernel
    inside = tuple(slice(0, n) for n in susceptibility.shape)
    return fft.irfftn(spectrum, shape)[inside].astype(np.float32)


def susceptibility_ppm(fractions: dict[str, np.ndarray]) -> np.ndarray:
    """Susceptibility of the head relative to air, ppm."""
    soft = sum(f for name, f in fractions.items() if name != "skull")
    return (TISSUE_PPM - AIR_PPM) * soft + (BONE_PPM - AIR_PPM) * fractions["skull"]


def second_order_harmonics(points_mm: np.ndarray) -> np.ndarray:
    """The nine real solid harmonics up to second order at points (n, 3) mm, scaled to order one; (n, 9)."""
    x, y, z = (points_mm / 100).T
    one = np.ones_like(x)
    return np.stack([one, x, y, z, x * y, x * z, y * z, x**2 - y**2, 2 * z**2 - x**2 - y**2], axis=1)


def shim(field_hz: np.ndarray, grid: Grid, weight: np.ndarray) -> np.ndarray:
    """Subtract the second-order shim that minimises the weighted squared field."""
    harmonics = second_order_harmonics(grid.points().reshape(-1, 3).astype(float))
    root = np.sqrt(weight.ravel().astype(float))
    chosen = root > 0
    coefficients, *_ = np.linalg.lstsq(
        harmonics[chosen] * root[chosen, None], field_hz.ravel()[chosen] * root[chosen], rcond=None
    )
    return field_hz - (harmonics @ coefficients).reshape(field_hz.shape)


def _with_neck(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((0, 0), (0, 0), (NECK_SLICES, 0)), mode="edge")


def build_field(grid: Grid, warp: Warp, skull_scale: float, max_hz: float) -> np.ndarray:
    """Shimmed field of one head on a subject grid, Hz.

    Computed on its own 4 mm lattice, so that it is the same at every voxel size, then scaled so that its largest
    magnitude in the brain is ``max_hz`` (the sizes of air spaces are schematic) and limited to that outside it.

    Args:
        grid: where the field is wanted.
        warp: subject to template.
        skull_scale: as for the head.
        max_hz: largest magnitude in the brain, Hz; 0 gives a perfectly homogeneous field.
    """
    lattice = subject_grid(LATTICE_MM)
    fractions = build_head(lattice, warp, skull_scale).fractions
    relative = dipole_field(_with_neck(susceptibility_ppm(fractions)))[..., NECK_SLICES:]
    field = relative * 1e-6 * GYROMAGNETIC_RATIO_HZ_PER_T * FIELD_STRENGTH_T
    field = ndimage.gaussian_filter(field, SMOOTHING_MM / LATTICE_MM)
    brain = fractions["gm"] + fractions["wm"]
    brain = brain * (brain > BRAIN_SHARE)
    field = shim(field, lattice, brain)
    field = np.clip(field * (max_hz / np.abs(field[brain > 0]).max()), -max_hz, max_hz)
    return regrid(field.astype(np.float32), lattice, grid)
