"""How the volumes of one grid are laid out in pictures: axes turned to RAS, cropped to the head, square pixels."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage

from scan2map.errors import DataError
from scan2map.images import Image

MARGIN_MM = 6.0
# Name of each direction of view, and the RAS axis that it cuts.
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}


@dataclass(frozen=True)
class Frame:
    """A view of one grid.

    Attributes:
        affine: voxel to world (RAS+, mm) of the turned and cropped grid.
        orientation: nibabel's orientation transform that turns the axes to RAS.
        box: the part of the turned grid that is shown.
        shape: voxels of the turned and cropped grid.
    """

    affine: np.ndarray
    orientation: np.ndarray
    box: tuple[slice, slice, slice]
    shape: tuple[int, int, int]

    @property
    def voxel_size_mm(self) -> np.ndarray:
        """Edges of a voxel, mm, shape (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def crop(self, data: np.ndarray) -> np.ndarray:
        """The volume (x, y, z, ...) turned to RAS and cropped."""
        return nib.apply_orientation(data, self.orientation)[self.box]


def frame_of(image: Image, mask: np.ndarray | None = None) -> Frame:
    """The frame that shows the mask (or the whole grid) of an image.

    Raises:
        DataError: the mask is empty.
    """
    shape = image.data.shape[:3]
    orientation = nib.io_orientation(image.affine)
    turned = image.affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    inside = nib.apply_orientation(np.ones(shape, bool) if mask is None else np.asarray(mask, bool), orientation)
    box = _box(inside, MARGIN_MM / np.linalg.norm(turned[:3, :3], axis=0))
    affine = turned.copy()
    affine[:3, 3] = turned[:3, :3] @ [part.start for part in box] + turned[:3, 3]
    return Frame(affine, orientation, box, tuple(part.stop - part.start for part in box))


def _box(inside: np.ndarray, margin_voxels: np.ndarray) -> tuple[slice, slice, slice]:
    if not inside.any():
        raise DataError("There is nothing to show: the mask is empty", remedy="check the brain mask of this session")
    edges = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    margins = np.ceil(margin_voxels).astype(int)
    return tuple(
        slice(max(0, edge[0] - margin), min(size, edge[-1] + margin + 1))
        for edge, margin, size in zip(edges, margins, inside.shape, strict=True)
    )


def cut_positions(frame: Frame, inside: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Slice indices per plane, evenly spread over the middle 80 % of the mask.

    Args:
        frame: the frame.
        inside: cropped mask.
        count: slices per plane.
    """
    positions = {}
    for plane, axis in PLANES.items():
        filled = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = filled[0], filled[-1]
        inset = 0.1 * (high - low)
        positions[plane] = np.unique(np.linspace(low + inset, high - inset, count).round().astype(int))
    return positions


def tile(frame: Frame, volume: np.ndarray, plane: str, index: int, pixel_mm: float, *, order: int = 0) -> np.ndarray:
    """One slice with square pixels, head up and the subject's left on the left.

    Args:
        frame: the frame of the volume.
        volume: cropped, (x, y, z) or (x, y, z, 3).
        plane: ``axial``, ``coronal`` or ``sagittal``.
        index: voxel index along the plane's normal.
        pixel_mm: edge of a pixel.
        order: spline order; 0 shows voxels as they are.

    Returns:
        Rows from top to bottom, (height, width) or (height, width, 3).
    """
    axis = PLANES[plane]
    cut = np.take(volume, index, axis=axis)
    scale = np.delete(frame.voxel_size_mm, axis) / pixel_mm
    zoom = (*scale, *(1,) * (cut.ndim - 2))
    pixels = ndimage.zoom(cut, zoom, order=order, mode="nearest", grid_mode=True) if any(scale != 1) else cut
    return np.flip(np.swapaxes(pixels, 0, 1), axis=0)


def millimetres(frame: Frame, plane: str, index: int) -> float:
    """World coordinate of a slice through the frame's middle along its own axis, mm."""
    middle = (np.array(frame.shape) - 1) / 2
    middle[PLANES[plane]] = index
    return float((frame.affine[:3, :3] @ middle + frame.affine[:3, 3])[PLANES[plane]])
