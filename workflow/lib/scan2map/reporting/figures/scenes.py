"""What the figures share: reading inputs, choosing ranges, laying out one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scan2map.images import Image, load_image
from scan2map.reporting.frame import frame_of
from scan2map.reporting.mosaic import OUTLINES, Layout, Outline, Scene, draw_mosaic, layout_of
from scan2map.reporting.pictures import Picture, picture_of

# Display window of images without a unit: white lies this much above all but this share of brain voxels.
BRIGHTEST_PERCENT, HEADROOM = 0.5, 1.1


@dataclass(frozen=True)
class Style:
    """Size of the still pictures: ``slices`` per row, ``width_px``."""

    slices: int = 7
    width_px: int = 1200


def window(volume: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Grey window of an image without a unit: zero to just below its brightest brain voxels."""
    inside = volume[np.asarray(mask, bool)]
    return 0.0, HEADROOM * float(np.percentile(inside, 100 - BRIGHTEST_PERCENT)) or 1.0


def layout_for(image: Image, mask: np.ndarray, style: Style) -> Layout:
    """Mosaic of the grid of an image, spread over its mask."""
    return layout_of(frame_of(image, mask), mask, style.slices)


def load_mask(path) -> np.ndarray:
    """A brain mask as booleans."""
    return load_image(path).data > 0.5


def outlines(inputs: Mapping[str, str], names: tuple[str, ...]) -> tuple[Outline, ...]:
    """Contours of those maps that the figure has, in their standard colours."""
    return tuple(Outline(load_image(inputs[name]).data, OUTLINES[name]) for name in names if name in inputs)


def draw(layout: Layout, scene: Scene, style: Style, **picture) -> Picture:
    """Draw one picture of a figure."""
    return picture_of(draw_mosaic(layout, scene, width_px=style.width_px), **picture)
