"""Pictures of images that have no brain mask of their own: CT, clinical MRI, bSSFP."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from scan2map.evaluation.grids import on_grid
from scan2map.images import Image, load_image
from scan2map.reporting.figures.scenes import Style, draw, layout_for
from scan2map.reporting.mosaic import Colours, Scene
from scan2map.reporting.pictures import Picture

# Part of the way from the darkest to the brightest percentile from which on a voxel belongs to the head.
HEAD_LEVEL = 0.2
WINDOW_PERCENT = (1, 99.5)


def head_of(values: np.ndarray) -> np.ndarray:
    """Voxels of the head: the largest connected part above a fifth of the intensity range."""
    low, high = np.percentile(values, (1, 99))
    labels, count = ndimage.label(values > low + HEAD_LEVEL * (high - low))
    if not count:
        return np.ones(values.shape, bool)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _volume(image: Image, wanted: int | str) -> Image:
    """A 3-D image: of a series its mean or one volume."""
    if image.data.ndim == 3:
        return image
    return Image(image.data.mean(axis=3) if wanted == "mean" else image.data[..., wanted], image.affine)


def slices(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """Views of images in one world space, all in the slices of the first.

    Args:
        inputs: images by key.
        options: ``alt`` and ``views``: for every picture ``name``, ``input``, and optionally ``range`` (two values; the
            image's own percentiles if left out), ``volume`` (of a series: a number or ``mean``) and ``colour_map``.
        style: size of the pictures.
    """
    images = [_volume(load_image(inputs[view["input"]]), view.get("volume", "mean")) for view in options["views"]]
    grid = images[0]
    layout = layout_for(grid, head_of(grid.data), style)
    pictures = []
    for image, view in zip(images, options["views"], strict=True):
        values = on_grid(image, grid).data
        low, high = view.get("range") or np.percentile(values, WINDOW_PERCENT)
        scene = Scene(values, Colours(view.get("colour_map", "gray"), float(low), float(high)), smooth=True)
        words = {"label": view["name"], "alt": f"{options['alt']}: {view['name']}", "group": "views"}
        pictures.append(draw(layout, scene, style, photo=True, **words))
    return pictures
