"""Pictures of what a model predicts: its map, a conventional estimate on the same scale, its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.evaluation.grids import on_grid
from scan2map.images import load_image
from scan2map.reporting.figures.maps import display_range
from scan2map.reporting.figures.scenes import Style, draw, layout_for, load_mask
from scan2map.reporting.mosaic import Colours, Scene
from scan2map.reporting.pictures import Picture


def predicted_map(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """One picture per file, in the same slices; flicker compares those on the same scale.

    Args:
        inputs: maps by key (in one world space; the first gives the grid), and ``mask``.
        options: ``alt`` and ``maps``: for every key ``label``, ``name``, ``range``, ``scale``,
            ``colour_map`` (``rgb`` for an image of three volumes that are colours) and ``group``.
        style: size of the pictures.
    """
    images = {key: load_image(inputs[key]) for key in options["maps"]}
    mask, grid = load_mask(inputs["mask"]), next(iter(images.values()))
    layout = layout_for(grid, mask, style)
    pictures = []
    for key, shown in options["maps"].items():
        values = shown["scale"] * on_grid(images[key], grid).data
        words = {"label": shown["name"], "group": shown["group"], "alt": f"{options['alt']}: {shown['name']}"}
        if shown["colour_map"] == "rgb":
            pictures.append(draw(layout, _coloured(values, mask, shown["range"]), style, **words, photo=True))
            continue
        values = np.where(mask, values, np.nan)
        colours = Colours(shown["colour_map"], *display_range(values, mask, shown["range"]), shown["label"])
        pictures.append(draw(layout, Scene(values, colours), style, **words))
    return pictures


def _coloured(colours: np.ndarray, mask: np.ndarray, ends: tuple[float, float]) -> Scene:
    """Colours (x, y, z, 3) inside the mask, the ends brought to 0 and 1."""
    low, high = ends
    return Scene(np.clip((colours - low) / (high - low), 0, 1) * mask[..., None])
