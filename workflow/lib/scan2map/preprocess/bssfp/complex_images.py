"""Phase-cycled bSSFP as complex images: from stored magnitude and phase to images that can be compared."""

from __future__ import annotations

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.registration import Transform, apply_transform

STORED_STEPS = 4096  # Siemens stores phase in 12 bits
GIBBS_NEIGHBOURS = 3


def phase_radians(stored: np.ndarray, units: str, file=None) -> np.ndarray:
    """Phase in radians, −π to π, from what the file holds.

    Args:
        stored: 0 to 4095 (raw), −4096 to 4095 (dcm2niix's slope 2 and intercept −4096), or radians.
        units: the sidecar's ``Units``: ``rad`` or ``arbitrary``.
        file: for the message.

    Raises:
        DataError: the values fit none of these.
    """
    low, high = float(stored.min()), float(stored.max())
    if units == "rad" and -np.pi - 1e-3 <= low and high <= np.pi + 1e-3:
        return stored.astype(np.float32)
    if units != "rad" and low >= 0 and 2 * np.pi < high <= STORED_STEPS:
        return (stored * (2 * np.pi / STORED_STEPS) - np.pi).astype(np.float32)
    if units != "rad" and -STORED_STEPS <= low < -np.pi and high <= STORED_STEPS:
        return (stored * (np.pi / STORED_STEPS)).astype(np.float32)
    raise DataError(
        "The phase image has values of no known scale",
        file=file,
        found=f"{low:g} to {high:g}, Units: {units}",
        allowed="0 to 4095 or -4096 to 4095 (Units: arbitrary), or -pi to pi (Units: rad)",
        remedy="correct Units in the sidecar, or convert the series again",
    )


def complex_images(magnitude: np.ndarray, phase_rad: np.ndarray) -> np.ndarray:
    """Magnitude · e^(i phase), complex64."""
    return (magnitude * np.exp(1j * phase_rad)).astype(np.complex64)


def correct_global_phase(images: np.ndarray) -> np.ndarray:
    """Turn every phase cycle so that its sum over the image is real and positive.

    The scanner adds an unknown constant phase to each cycle; what it adds is gone, whatever it was. Large magnitudes
    count most, so that air does not matter.

    Args:
        images: complex (x, y, z, cycles).
    """
    return images * np.exp(-1j * np.angle(images.sum(axis=(0, 1, 2)))).astype(np.complex64)


def remove_gibbs(images: np.ndarray) -> np.ndarray:
    """Suppress Gibbs ringing of the real and the imaginary parts, slice by slice.

    dipy's function takes magnitudes, so each part is lifted above zero for it; the total variation that it minimises
    does not see a constant.

    Args:
        images: complex (x, y, z, cycles).

    Source: Kellner et al. 2016, Magn Reson Med 76:1574 (local sub-voxel shifts).
    """
    from dipy.denoise.gibbs import gibbs_removal

    lift = 2 * float(np.abs(images).max())
    parts = [
        gibbs_removal(part + np.float32(lift), n_points=GIBBS_NEIGHBOURS, inplace=False) - lift
        for part in (images.real, images.imag)
    ]
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def resample_complex(images: Image, grid: Image, transform: Transform) -> Image:
    """Complex images on another grid, averaged over each new voxel: real and imaginary parts, never the phase itself.

    Args:
        images: complex (x, y, z, cycles).
        grid: gives the grid.
        transform: its world to the world of the images.
    """
    parts = [
        apply_transform(Image(part, images.affine), grid, transform, "mean").data
        for part in (images.data.real, images.data.imag)
    ]
    return Image((parts[0] + 1j * parts[1]).astype(np.complex64), grid.affine)


def mean_magnitude(images: np.ndarray) -> np.ndarray:
    """Mean magnitude over the cycles: hardly any banding, for registration (x, y, z)."""
    return np.abs(images).mean(-1).astype(np.float32)


def interleave(images: np.ndarray) -> np.ndarray:
    """Magnitude and phase of each cycle in turn: real (x, y, z, 2·cycles) from complex (x, y, z, cycles)."""
    pairs = np.stack([np.abs(images), np.angle(images)], axis=-1)
    return pairs.reshape(*images.shape[:3], -1).astype(np.float32)
