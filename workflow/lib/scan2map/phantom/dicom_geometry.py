"""Slice geometry and stored pixel values: how an array and its affine become DICOM slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scan2map.errors import DataError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
UINT16_MAX = 65535
CT_INTERCEPT_HU = -1024  # air is stored as 24: the offset that CT scanners use
PHASE_LEVELS = 4096  # Siemens phase images: 12 bits, slope 2, intercept -4096


@dataclass(frozen=True)
class SliceGeometry:
    """Where the slices of a volume lie in the patient coordinate system (LPS, mm).

    Attributes:
        orientation: (6,) ImageOrientationPatient: direction of increasing column, then of increasing row index.
        positions_mm: (z, 3) ImagePositionPatient: centre of the first stored pixel of each slice.
        pixel_spacing_mm: distance between rows, distance between columns.
        slice_spacing_mm: distance between slice centres.
        normal: (3,) unit vector along which the slices are stacked.
        flip_columns: the first voxel axis is stored backwards.
    """

    orientation: np.ndarray
    positions_mm: np.ndarray
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    normal: np.ndarray
    flip_columns: bool


def _require_rigid_grid(affine: np.ndarray) -> None:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)):
        raise DataError(
            "The voxel axes of a series are not at right angles",
            found=affine[:3, :3].tolist(),
            allowed="orthogonal axes: DICOM cannot describe a sheared grid",
            remedy="resample the series to an orthogonal grid",
        )


def slice_geometry(affine: np.ndarray, shape: tuple[int, int, int]) -> SliceGeometry:
    """Lay out a volume as a scanner does: rows run against the second voxel axis, slices along the third.

    The first voxel axis is stored backwards where needed to make the stack right-handed, so that an axial RAS volume
    gets the usual orientation ``1\\0\\0\\0\\1\\0``. See DICOM PS3.3 C.7.6.2.1.1.

    Args:
        affine: voxel to world, RAS+ mm, 4x4, orthogonal voxel axes.
        shape: (x, y, z).

    Raises:
        DataError: the voxel axes are not orthogonal.
    """
    affine = np.asarray(affine, dtype=np.float64)
    _require_rigid_grid(affine)
    axes, origin = RAS_TO_LPS @ affine[:3, :3], RAS_TO_LPS @ affine[:3, 3]
    spacing = np.linalg.norm(axes, axis=0)
    flip_columns = bool(np.linalg.det(axes) > 0)
    column_step = -axes[:, 0] if flip_columns else axes[:, 0]
    first = origin + axes[:, 1] * (shape[1] - 1) + (axes[:, 0] * (shape[0] - 1) if flip_columns else 0.0)
    return SliceGeometry(
        orientation=np.concatenate([column_step / spacing[0], -axes[:, 1] / spacing[1]]),
        positions_mm=first + np.arange(shape[2])[:, None] * axes[:, 2],
        pixel_spacing_mm=(spacing[1], spacing[0]),
        slice_spacing_mm=spacing[2],
        normal=axes[:, 2] / spacing[2],
        flip_columns=flip_columns,
    )


@dataclass(frozen=True)
class StoredPixels:
    """Integers as stored in the files, and the rescale that gives the values back: value = stored * slope + intercept.

    ``values`` has shape (x, y, z, t), uint16. For phase the rescaled values are levels: radians = level * pi / 4096.
    """

    values: np.ndarray
    slope: float
    intercept: float
    bits: int
    write_rescale: bool


def _round_up(value: float, digits: int) -> float:
    """The next number with so few digits that decimal text and float32 lose nothing that matters."""
    exponent = np.floor(np.log10(value)) - digits + 1
    return float(f"{np.ceil(value / 10**exponent - 1e-9) * 10**exponent:.{digits}g}")


def _store_magnitude(data: np.ndarray) -> StoredPixels:
    if data.min() < 0:
        raise DataError("A magnitude series holds negative values", found=float(data.min()), allowed=">= 0")
    if data.max() <= UINT16_MAX and np.array_equal(data, np.rint(data)):
        return StoredPixels(data.astype(np.uint16), 1.0, 0.0, 16, write_rescale=False)
    slope = _round_up(float(data.max()) / UINT16_MAX, digits=5)
    return StoredPixels(np.rint(data / slope).astype(np.uint16), slope, 0.0, 16, write_rescale=True)


def _store_phase(data: np.ndarray) -> StoredPixels:
    if np.abs(data).max() > np.pi + 1e-4:
        raise DataError("A phase series leaves its range", found=float(np.abs(data).max()), allowed="-pi to pi radians")
    levels = np.rint((data + np.pi) / (2 * np.pi) * PHASE_LEVELS).astype(np.int64) % PHASE_LEVELS
    return StoredPixels(levels.astype(np.uint16), 2.0, -float(PHASE_LEVELS), 12, write_rescale=True)


def _store_ct(data: np.ndarray) -> StoredPixels:
    stored = np.rint(data) - CT_INTERCEPT_HU
    if stored.min() < 0 or stored.max() > UINT16_MAX:
        raise DataError("A CT series leaves its range", found=f"{data.min()} to {data.max()} HU", allowed=">= -1024 HU")
    return StoredPixels(stored.astype(np.uint16), 1.0, float(CT_INTERCEPT_HU), 16, write_rescale=True)


def store_pixels(data: np.ndarray, kind: str) -> StoredPixels:
    """Scale a series to unsigned 16-bit integers.

    * ``magnitude``: whole numbers up to 65535 are stored as they are; otherwise slope = maximum / 65535 (rounded up to
      five digits), which keeps the error below half of it. The rescale slope stands in the header, so the values of
      different series stay comparable (M0 against ASL, b0 AP against PA).
    * ``phase``: radians in 4096 levels, Siemens style: slope 2, intercept -4096, radians = rescaled * pi / 4096.
    * ``ct``: whole Hounsfield units, intercept -1024.

    Args:
        data: (x, y, z, t), finite.
        kind: ``magnitude``, ``phase`` or ``ct``.

    Raises:
        DataError: not finite, or outside the range of its kind.
    """
    if not np.isfinite(data).all():
        raise DataError("A series holds values that are not numbers", allowed="finite values only")
    data = data if np.issubdtype(data.dtype, np.floating) else data.astype(np.float32)
    return {"magnitude": _store_magnitude, "phase": _store_phase, "ct": _store_ct}[kind](data)


def slice_pixels(stored: np.ndarray, geometry: SliceGeometry, slice_index: int, volume: int) -> bytes:
    """The little-endian pixel bytes of one slice, rows first."""
    pixels = stored[:, ::-1, slice_index, volume].T
    if geometry.flip_columns:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels, dtype="<u2").tobytes()
