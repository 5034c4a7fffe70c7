"""CT numbers: is an image in Hounsfield units on a grid of right angles, and how a window shows it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image

AIR_HU, LOWEST_HU, HIGHEST_HU = -1000.0, -1024.0, 3071.0
# The air around a head: the median of the darkest twentieth of the image. Reconstructions clip it at -1024 or leave
# noise; an image whose rescale intercept was lost has it near 0.
AIR_RANGE_HU, AIR_SHARE = (-1100.0, -850.0), 0.05
# Where a reconstruction writes a value for "outside the field of view" (GE -2000 or -3024), it lies below this.
PADDING_HU = -1500.0
BONE_HU = 400.0
RIGHT_ANGLE_TOLERANCE = 1e-3  # cosine; 0.06 degrees


class Window(NamedTuple):
    """A display window: its middle and its width, HU."""

    level_hu: float
    width_hu: float


BRAIN_WINDOW = Window(40.0, 80.0)
BONE_WINDOW = Window(500.0, 2000.0)
SINGLE_WINDOW = Window(40.0, 400.0)  # one window for all, as the document has it; all bone is white in it


def apply_window(hounsfield: np.ndarray, window: Window) -> np.ndarray:
    """CT numbers through a window, clipped, −2 (its lower end and below) to 2 (its upper end and above), float32."""
    low = window.level_hu - window.width_hu / 2
    share = (np.asarray(hounsfield, dtype=np.float32) - np.float32(low)) / np.float32(window.width_hu)
    return 4 * np.clip(share, 0, 1) - 2


def check_hounsfield(image: Image, file=None) -> Image:
    """A CT image in HU, padding outside the reconstructed circle set to air, clipped to 12 bits.

    Args:
        image: (x, y, z) as converted.
        file: for messages.

    Raises:
        DataError: it is not a volume, its air is not at −1000 HU, or it shows no bone.
    """
    if image.data.ndim != 3:
        raise DataError(
            "The CT is not a volume", file=file, found=f"shape {image.data.shape}", allowed="(x, y, z)",
            remedy="export one series without contrast or motion of the table",
        )  # fmt: skip
    values = np.where(image.data < PADDING_HU, AIR_HU, image.data)
    air = float(np.median(values[values <= np.quantile(values, AIR_SHARE)]))
    if not AIR_RANGE_HU[0] <= air <= AIR_RANGE_HU[1]:
        raise DataError(
            "The CT is not in Hounsfield units", file=file, found=f"air at {air:.0f}",
            allowed=f"{AIR_RANGE_HU[0]:g} to {AIR_RANGE_HU[1]:g} HU",
            remedy="export the original series with its rescale slope and intercept, not a windowed copy",
        )  # fmt: skip
    if not (values > BONE_HU).any():
        raise DataError(
            "The CT shows no bone", file=file, found=f"highest value {values.max():.0f} HU",
            allowed=f"above {BONE_HU:g} HU", remedy="is it a CT of the head?",
        )  # fmt: skip
    return Image(np.clip(values, LOWEST_HU, HIGHEST_HU), image.affine)


def check_right_angles(image: Image, file=None) -> None:
    """Stop where slices are sheared against each other: a tilted gantry that the conversion did not undo.

    Raises:
        DataError: two axes of the grid are not at right angles.
    """
    axes = image.affine[:3, :3] / image.voxel_size_mm
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > RIGHT_ANGLE_TOLERANCE:
        raise DataError(
            "The slices of the CT are tilted against their stacking direction (gantry tilt)", file=file,
            found=f"{np.degrees(np.arcsin(min(cosine, 1.0))):.1f} degrees", allowed="right angles",
            remedy="reconstruct the series without tilt, or use dcm2niix's tilt-corrected image (_Tilt)",
        )  # fmt: skip
