"""Volumes for the slice viewer of a page: 8-bit montages of all slices that the browser cuts in three directions.

The browser reads the grey value of a pixel back into the map's unit, so that the viewer can say what it shows.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scan2map.images import Image, load_image
from scan2map.preprocess.registration import Transform, apply_transform
from scan2map.reporting.figures.maps import direction_colours, display_range
from scan2map.reporting.figures.scenes import load_mask
from scan2map.reporting.frame import Frame, frame_of
from scan2map.reporting.mosaic import OUTLINES
from scan2map.reporting.pictures import encode

# Grey levels: 0 is outside the mask, 1 to 255 are values.
OUTSIDE, LEVELS = 0, 254
# Anything finer than the wanted voxel by less than this factor stays as it is.
COARSER_AT_LEAST = 1.1
LABELS = ("CSF", "GM", "WM")


@dataclass(frozen=True)
class Layer:
    """One volume that a viewer can show: its montage and how grey levels mean values."""

    name: str
    uri: str
    low: float
    high: float
    unit: str
    colour_map: str


def montage(volume: np.ndarray) -> np.ndarray:
    """All axial slices of (x, y, z[, 3]) below each other: (z * y, x[, 3]), so that a row of pixels runs along x."""
    turned = np.moveaxis(volume, (0, 1, 2), (2, 1, 0))
    return turned.reshape(-1, *turned.shape[2:])


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


def _uri(pixels: np.ndarray) -> str:
    content, media_type = encode(pixels)
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _grey_layer(spec: Mapping, volume: np.ndarray, inside: np.ndarray) -> Layer:
    values = volume * spec.get("scale", 1.0)
    low, high = display_range(values, inside, spec["range"])
    levels = quantise(values, low, high)
    if spec.get("masked", False):
        levels = np.where(inside, levels, OUTSIDE)
    uri = _uri(montage(levels))
    return Layer(spec["name"], uri, low, high, spec.get("unit", ""), spec.get("colour_map", "gray"))


def _colour_layer(spec: Mapping, direction: np.ndarray, anisotropy: np.ndarray) -> Layer:
    colours = direction_colours(direction, anisotropy)
    return Layer(spec["name"], _uri(montage(quantise(colours, 0, 1))), 0, 1, "", "rgb")


def build_viewer(inputs: Mapping[str, str], layers: list[Mapping], voxel_mm: float) -> dict:
    """Everything that the page's script needs to show some volumes of one grid.

    Args:
        inputs: files by name; ``mask`` always, tissue maps ``CSF``, ``GM``, ``WM`` for outlines where given.
        layers: what to show, in order: ``name``, ``input``, ``range``, and optionally ``unit``, ``scale``,
            ``colour_map``, ``volume`` (of a 4-D image), ``anisotropy`` (makes it a direction map), ``masked``.
        voxel_mm: finest voxel shown.

    Returns:
        JSON-ready description with the montages as data URIs.
    """
    mask = Image(load_mask(inputs["mask"]).astype(np.float32), load_image(inputs["mask"]).affine)
    frame = frame_of(mask, mask.data > 0.5)
    grid = coarse_grid(frame, voxel_mm)
    inside = shown(frame, grid, mask) > 0.5
    made = [_layer(spec, inputs, frame, grid, inside) for spec in layers if _has_volume(spec, inputs)]
    affine = frame.affine if grid is None else grid.affine
    return {
        "shape": list(inside.shape),
        "affine": np.round(affine, 4).tolist(),
        "layers": [layer.__dict__ for layer in made],
        "outlines": _outlines(inputs, frame, grid),
        "colourMaps": {name: colour_table(name) for name in sorted({layer.colour_map for layer in made} - {"rgb"})},
    }


def _has_volume(spec: Mapping, inputs: Mapping[str, str]) -> bool:
    return "volume" not in spec or spec["volume"] < load_image(inputs[spec["input"]]).data.shape[3]


def _layer(spec: Mapping, inputs: Mapping[str, str], frame: Frame, grid: Image | None, inside: np.ndarray) -> Layer:
    image = load_image(inputs[spec["input"]])
    if "volume" in spec:
        image = Image(image.data[..., spec["volume"]], image.affine)
    volume = shown(frame, grid, image)
    if "anisotropy" in spec:
        return _colour_layer(spec, volume, shown(frame, grid, load_image(inputs[spec["anisotropy"]])))
    return _grey_layer(spec, volume, inside)


def _outlines(inputs: Mapping[str, str], frame: Frame, grid: Image | None) -> dict | None:
    """Most likely tissue per voxel (0 none) with its colours, for the browser to outline."""
    if not all(name in inputs for name in LABELS):
        return None
    fractions = np.stack([shown(frame, grid, load_image(inputs[name])) for name in LABELS])
    labels = np.where(fractions.max(0) >= 0.5, fractions.argmax(0) + 1, 0)
    return {
        "uri": _uri(montage(labels.astype(np.uint8))),
        "colours": [OUTLINES[name] for name in LABELS],
        "names": LABELS,
    }


def colour_table(name: str) -> str:
    """Colours of the 256 levels by a matplotlib map, black for outside, as one string of hexadecimal RGB."""
    import matplotlib

    colours = matplotlib.colormaps[name](np.linspace(0, 1, LEVELS + 1))[:, :3]
    return (255 * np.vstack([np.zeros(3), colours])).round().astype(np.uint8).tobytes().hex()
