"""Slices of a volume side by side: axial, coronal and sagittal rows, with contours and a colour bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scan2map.reporting.frame import PLANES, Frame, cut_positions, millimetres, tile

GAP_MM = 3.0
# Room for the text below each row of slices.
TEXT_MM = 18.0
DPI = 100
INK = "#e8eaed"
SIDES = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}
# Colours of outlines, from a palette that colour-blind readers can tell apart (Okabe and Ito 2008).
OUTLINES = {"brain": "#E69F00", "GM": "#009E73", "WM": "#56B4E9", "CSF": "#CC79A7"}


@dataclass(frozen=True)
class Layout:
    """Where each slice of a mosaic lies, in pixels of the mosaic."""

    frame: Frame
    cuts: Mapping[str, np.ndarray]
    pixel_mm: float
    shape: tuple[int, int]
    corners: Mapping[tuple[str, int], tuple[int, int]]


@dataclass(frozen=True)
class Colours:
    """How values become colours.

    Attributes:
        name: matplotlib colour map.
        low, high: values at its ends.
        label: text of the colour bar, with unit; no bar if empty.
    """

    name: str = "gray"
    low: float = 0.0
    high: float = 1.0
    label: str = ""


@dataclass(frozen=True)
class Outline:
    """A contour at half of a fraction map or mask."""

    fraction: np.ndarray
    colour: str
    width: float = 0.9


@dataclass(frozen=True)
class Scene:
    """What a mosaic shows: a volume (grey or RGB), its colours, and outlines on it; all uncropped."""

    volume: np.ndarray
    colours: Colours = field(default_factory=Colours)
    outlines: tuple[Outline, ...] = ()
    smooth: bool = False


def layout_of(frame: Frame, mask: np.ndarray, count: int, planes=tuple(PLANES)) -> Layout:
    """Plan the rows of a mosaic.

    Args:
        frame: the frame of the volumes.
        mask: uncropped mask that the slices are spread over.
        count: slices per row.
        planes: the rows, top to bottom.
    """
    pixel_mm = float(frame.voxel_size_mm.min())
    cuts = {
        plane: positions
        for plane, positions in cut_positions(frame, frame.crop(mask), count).items()
        if plane in planes
    }
    blank = np.zeros(frame.shape, np.uint8)
    sizes = {plane: tile(frame, blank, plane, 0, pixel_mm).shape for plane in planes}
    gap, text = max(1, round(GAP_MM / pixel_mm)), round(TEXT_MM / pixel_mm)
    column = max(width for _, width in sizes.values()) + gap
    corners, top = {}, gap
    for plane in planes:
        height, width = sizes[plane]
        for place, index in enumerate(cuts[plane]):
            corners[plane, int(index)] = (top, gap + place * column + (column - gap - width) // 2)
        top += height + text
    columns = max(len(positions) for positions in cuts.values())
    return Layout(frame, cuts, pixel_mm, (top, gap + columns * column), corners)


def assemble(layout: Layout, volume: np.ndarray, *, order: int = 0) -> np.ndarray:
    """The mosaic of an uncropped volume (x, y, z) or (x, y, z, 3); between the slices NaN, or black for colours."""
    cropped = layout.frame.crop(np.asarray(volume, dtype=np.float32))
    canvas = np.full((*layout.shape, *cropped.shape[3:]), np.nan if cropped.ndim == 3 else 0, np.float32)
    for (plane, index), (top, left) in layout.corners.items():
        pixels = tile(layout.frame, cropped, plane, index, layout.pixel_mm, order=order)
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def draw_mosaic(layout: Layout, scene: Scene, *, width_px: int):
    """Draw a mosaic as a matplotlib figure on black.

    Args:
        layout: plan of the slices.
        scene: what to show.
        width_px: width of the picture.
    """
    figure, axes = _canvas(layout, width_px, bar=bool(scene.colours.label))
    order = 1 if scene.smooth else 0
    shown = axes.imshow(
        assemble(layout, scene.volume, order=order),
        cmap=scene.colours.name,
        vmin=scene.colours.low,
        vmax=scene.colours.high,
        interpolation="bilinear" if scene.smooth else "nearest",
    )
    for outline in scene.outlines:
        fraction = np.nan_to_num(assemble(layout, outline.fraction, order=1))
        if np.ptp(fraction) > 0:
            axes.contour(fraction, levels=[0.5], colors=[outline.colour], linewidths=outline.width)
    _annotate(axes, layout)
    if scene.colours.label:
        _colour_bar(figure, shown, scene.colours)
    return figure


def _canvas(layout: Layout, width_px: int, *, bar: bool):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    share = 0.93 if bar else 1.0
    height_px = round(width_px * share * layout.shape[0] / layout.shape[1])
    figure = plt.figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor="black")
    axes = figure.add_axes((0, 0, share, 1))
    axes.set_axis_off()
    axes.set_facecolor("black")
    return figure, axes


def _annotate(axes, layout: Layout) -> None:
    """Slice position below each slice, and the sides of the head at the first slice of each row."""
    blank = np.zeros(layout.frame.shape, np.uint8)
    for (plane, index), (top, left) in layout.corners.items():
        height, width = tile(layout.frame, blank, plane, index, layout.pixel_mm).shape
        axis = "xyz"[PLANES[plane]]
        label = f"{axis} = {millimetres(layout.frame, plane, index):.0f}"
        text = {"color": INK, "fontsize": 8, "alpha": 0.8, "va": "top"}
        axes.text(left + width / 2, top + height + GAP_MM / layout.pixel_mm, label, ha="center", **text)
        if index == layout.cuts[plane][0]:
            for side, place, align in zip(SIDES[plane], (left, left + width), ("left", "right"), strict=True):
                axes.text(place, top + height / 2, side, ha=align, fontweight="bold", color=INK, fontsize=10)


def _colour_bar(figure, shown, colours: Colours) -> None:
    axes = figure.add_axes((0.942, 0.12, 0.011, 0.76))
    bar = figure.colorbar(shown, cax=axes)
    bar.set_label(colours.label, color=INK, fontsize=10)
    bar.ax.tick_params(colors=INK, labelsize=9, length=3)
    bar.outline.set_visible(False)
