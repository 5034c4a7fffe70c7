"""Volumes for the viewer of a page: 8-bit NIfTI at display resolution that the browser's viewer (NiiVue) unpacks.

Slope and intercept of the header turn a level into a value of the map, so that the viewer shows values in their unit.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import nibabel as nib
import numpy as np

from scan2map.images import Image, load_image
from scan2map.preprocess.registration import Transform, apply_transform
from scan2map.reporting.figures.maps import direction_colours, display_range
from scan2map.reporting.figures.scenes import load_mask
from scan2map.reporting.frame import Frame, frame_of
from scan2map.reporting.mosaic import OUTLINES
from scan2map.reporting.page import REPORT_FOLDER

# Levels: 0 is outside the mask, 1 to 255 are values.
OUTSIDE, LEVELS = 0, 254
# Anything finer than the wanted voxel by less than this factor stays as it is.
COARSER_AT_LEAST = 1.1
# The viewer knows this one itself.
GREY = "gray"
COLOUR_NODES = 33
COMPRESSION = 9
LIBRARY = REPORT_FOLDER / "assets" / "niivue"


@dataclass(frozen=True)
class Layer:
    """One volume that a viewer can show: a NIfTI file as base64, and how it is shown.

    Attributes:
        name: what it shows.
        data: gzipped NIfTI, base64.
        low, high: values at the ends of the colours.
        unit: as the page writes it.
        colour_map: by matplotlib's name; ``rgb`` for colours in the file.
        base: shown below, the others over it.
        start: of those over it, the one that a viewer starts with.
    """

    name: str
    data: str
    low: float
    high: float
    unit: str
    colour_map: str
    base: bool
    start: bool


@cache
def packed_library() -> dict[str, str]:
    """NiiVue for a page: ``script`` (gzipped, base64) and ``license``."""
    script = gzip.compress((LIBRARY / "niivue.umd.js").read_bytes(), COMPRESSION, mtime=0)
    return {"script": base64.b64encode(script).decode(), "license": (LIBRARY / "LICENSE.txt").read_text()}


def quantise(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as levels 1 to 255 between two ends; a level is (high - low) / 254 wide."""
    return (1 + np.round(np.clip((values - low) / (high - low), 0, 1) * LEVELS)).astype(np.uint8)


def coarse_grid(frame: Frame, voxel_mm: float) -> Image | None:
    """An empty image over the frame with voxels of at least the wanted size; None if the frame is coarse already."""
    size = frame.voxel_size_mm
    if (size * COARSER_AT_LEAST > voxel_mm).all():
        return None
    factor = np.maximum(voxel_mm / size, 1.0)
    shape = tuple(np.maximum(np.round(np.array(frame.shape) / factor), 1).astype(int))
    affine = frame.affine @ np.diag([*factor, 1.0])
    affine[:3, 3] = frame.affine[:3, :3] @ ((factor - 1) / 2) + frame.affine[:3, 3]
    return Image(np.zeros(shape, np.float32), affine)


def shown(frame: Frame, grid: Image | None, image: Image) -> np.ndarray:
    """The part of an image that the viewer shows, averaged down to the coarse grid where there is one."""
    if grid is None:
        return frame.crop(image.data)
    return apply_transform(image, grid, Transform(), "mean").data


def packed(levels: np.ndarray, affine: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> str:
    """A volume of levels (x, y, z) or colours (x, y, z, 3) as base64 of a gzipped NIfTI, the same bytes every time."""
    if levels.ndim == 4:
        levels = np.ascontiguousarray(levels).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    image = nib.Nifti1Image(levels, affine)
    image.header.set_slope_inter(slope, intercept)
    return base64.b64encode(gzip.compress(image.to_bytes(), COMPRESSION, mtime=0)).decode()


def _grey_layer(spec: Mapping, volume: np.ndarray, inside: np.ndarray, affine: np.ndarray) -> Layer:
    values = volume * spec.get("scale", 1.0)
    low, high = display_range(values, inside, spec["range"])
    levels = quantise(values, low, high)
    if spec.get("masked", False):
        shown_from = low + spec.get("clear_below", 0.0) * (high - low)
        levels = np.where(inside & (values >= shown_from), levels, OUTSIDE).astype(np.uint8)
    slope = (high - low) / LEVELS
    data = packed(levels, affine, slope, low - slope)
    colours = spec.get("colour_map", GREY)
    place = (spec.get("base", False), spec.get("start", False))
    return Layer(spec["name"], data, low, high, spec.get("unit", ""), colours, *place)


def _colour_layer(spec: Mapping, direction: np.ndarray, anisotropy: np.ndarray, affine: np.ndarray) -> Layer:
    colours = (255 * direction_colours(direction, anisotropy)).round().astype(np.uint8)
    return Layer(spec["name"], packed(colours, affine), 0, 1, "", "rgb", False, False)


def build_viewer(inputs: Mapping[str, str], layers: list[Mapping], voxel_mm: float) -> dict:
    """Everything that the page's script needs to show some volumes of one grid.

    Args:
        inputs: files by name; ``mask`` always, ``WM`` for the outline where given.
        layers: what to show, in order: ``name``, ``input``, ``range``, and optionally ``unit``, ``scale``,
            ``colour_map``, ``volume`` (of a 4-D image), ``anisotropy`` (makes it a direction map), ``masked``
            (with ``clear_below``: what lies below this share of the range is not drawn either), ``base``, ``start``.
        voxel_mm: finest voxel shown.

    Returns:
        JSON-ready description with the volumes in it.
    """
    mask = Image(load_mask(inputs["mask"]).astype(np.float32), load_image(inputs["mask"]).affine)
    frame = frame_of(mask, mask.data > 0.5)
    grid = coarse_grid(frame, voxel_mm)
    inside = shown(frame, grid, mask) > 0.5
    made = [_layer(spec, inputs, frame, grid, inside) for spec in layers if _has_volume(spec, inputs)]
    names = sorted({layer.colour_map for layer in made} - {"rgb", GREY})
    return {
        "layers": [layer.__dict__ for layer in made],
        "outline": _outline(inputs, frame, grid),
        "colourMaps": {name: colour_nodes(name) for name in names},
    }


def _has_volume(spec: Mapping, inputs: Mapping[str, str]) -> bool:
    return "volume" not in spec or spec["volume"] < load_image(inputs[spec["input"]]).data.shape[3]


def _affine(frame: Frame, grid: Image | None) -> np.ndarray:
    return frame.affine if grid is None else grid.affine


def _layer(spec: Mapping, inputs: Mapping[str, str], frame: Frame, grid: Image | None, inside: np.ndarray) -> Layer:
    image = load_image(inputs[spec["input"]])
    if "volume" in spec:
        image = Image(image.data[..., spec["volume"]], image.affine)
    volume, affine = shown(frame, grid, image), _affine(frame, grid)
    if "anisotropy" in spec:
        return _colour_layer(spec, volume, shown(frame, grid, load_image(inputs[spec["anisotropy"]])), affine)
    return _grey_layer(spec, volume, inside, affine)


def _outline(inputs: Mapping[str, str], frame: Frame, grid: Image | None) -> dict | None:
    """White matter as a label that the browser outlines, with its colour."""
    if "WM" not in inputs:
        return None
    white = shown(frame, grid, load_image(inputs["WM"])) >= 0.5
    colour = [int(OUTLINES["WM"][place : place + 2], 16) for place in (1, 3, 5)]
    return {"data": packed(white.astype(np.uint8), _affine(frame, grid)), "colour": colour}


def colour_nodes(name: str) -> dict[str, list[int]]:
    """A matplotlib map for the viewer: colours at some levels, level 0 (outside) without colour."""
    import matplotlib

    places = np.linspace(0, 1, COLOUR_NODES)
    colours = (255 * matplotlib.colormaps[name](places)[:, :3]).round().astype(int)
    nodes = {sign: [0, *colours[:, place].tolist()] for place, sign in enumerate("RGB")}
    return nodes | {"A": [0, *[255] * COLOUR_NODES], "I": [0, *(1 + places * LEVELS).round().astype(int).tolist()]}
