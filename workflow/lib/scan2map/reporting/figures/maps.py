"""Pictures of quantitative maps with their colour bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.images import load_image
from scan2map.reporting.figures.scenes import Style, draw, layout_for, load_mask, window
from scan2map.reporting.mosaic import Colours, Scene
from scan2map.reporting.pictures import Picture


def scalar_map(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """A map inside the brain mask.

    Args:
        inputs: ``map`` and ``mask``.
        options: ``alt``, ``label`` (with unit), ``colour_map``, ``range`` (two values in displayed units, or
            ``symmetric`` or ``window`` to take it from the data), ``scale`` (displayed unit over the file's unit).
        style: size of the pictures.
    """
    image, mask = load_image(inputs["map"]), load_mask(inputs["mask"])
    values = np.where(mask, image.data * options.get("scale", 1.0), np.nan)
    low, high = display_range(values, mask, options["range"])
    colours = Colours(options["colour_map"], low, high, options["label"])
    return [draw(layout_for(image, mask, style), Scene(values, colours), style, alt=options["alt"])]


def display_range(values: np.ndarray, mask: np.ndarray, wanted) -> tuple[float, float]:
    """Ends of the colour bar: fixed ones, or from the values inside the mask."""
    if wanted == "symmetric":
        largest = float(np.percentile(np.abs(values[mask]), 99.5)) or 1.0
        return -largest, largest
    if wanted == "window":
        return window(values, mask)
    return float(wanted[0]), float(wanted[1])


def direction_colours(direction: np.ndarray, anisotropy: np.ndarray) -> np.ndarray:
    """RGB of the principal diffusion direction: red left-right, green front-back, blue up-down, weighted by FA.

    Args:
        direction: (x, y, z, 3) unit vectors in world RAS axes; the sign does not matter.
        anisotropy: (x, y, z) FA.

    Returns:
        (x, y, z, 3), 0 to 1. Pajevic and Pierpaoli, Magn Reson Med 1999;42:526-540.
    """
    return np.clip(np.abs(direction) * np.clip(anisotropy, 0, 1)[..., None] * 1.3, 0, 1)


def direction_map(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """The principal direction in colour.

    Args:
        inputs: ``direction``, ``anisotropy`` and ``mask``.
        options: ``alt``.
        style: size of the pictures.
    """
    direction, anisotropy = load_image(inputs["direction"]), load_image(inputs["anisotropy"])
    mask = load_mask(inputs["mask"])
    colours = direction_colours(direction.data, anisotropy.data) * mask[..., None]
    return [draw(layout_for(anisotropy, mask, style), Scene(colours), style, alt=options["alt"], photo=True)]
