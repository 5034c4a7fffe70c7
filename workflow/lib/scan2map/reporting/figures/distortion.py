"""Pictures of the susceptibility correction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.errors import DataError
from scan2map.images import load_image
from scan2map.reporting.figures.scenes import Style, draw, layout_for, load_mask, outlines, window
from scan2map.reporting.mosaic import Colours, Scene
from scan2map.reporting.pictures import Picture


def opposed_b0(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """The b = 0 images of opposed phase encoding before and after the correction, same slices and window.

    Args:
        inputs: ``uncorrected`` and ``corrected``, (x, y, z, 2); ``mask``; optionally ``WM`` for an outline.
        options: ``alt`` and ``directions`` (names of the two volumes).
        style: size of the pictures.
    """
    stages = {"before": load_image(inputs["uncorrected"]), "after": load_image(inputs["corrected"])}
    mask = load_mask(inputs["mask"])
    layout = layout_for(stages["after"], mask, style)
    pictures = []
    for stage, image in stages.items():
        _require_pair(image.data, inputs)
        for place, direction in enumerate(options["directions"]):
            volume = np.clip(image.data[..., place], 0, None)
            scene = Scene(volume, Colours("gray", *window(volume, mask)), outlines(inputs, ("WM",)), smooth=True)
            label = f"{direction}, {stage}"
            alt = f"{options['alt']}: {label}"
            pictures.append(draw(layout, scene, style, label=label, alt=alt, photo=True, group=stage))
    return pictures


def _require_pair(volumes: np.ndarray, inputs: Mapping[str, str]) -> None:
    if volumes.ndim != 4 or volumes.shape[3] < 2:
        raise DataError(
            "The b = 0 images are not a pair", file=inputs["corrected"], found=volumes.shape, allowed="two volumes"
        )
