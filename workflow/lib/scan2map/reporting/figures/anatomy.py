"""Pictures of the T1-weighted image."""

from __future__ import annotations

from collections.abc import Mapping

from scan2map.images import load_image
from scan2map.reporting.figures.scenes import Style, draw, layout_for, load_mask, outlines, window
from scan2map.reporting.mosaic import OUTLINES, Colours, Outline, Scene
from scan2map.reporting.pictures import Picture


def tissue_contours(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """The T1w image with the outlines of the brain mask and of the tissues.

    Args:
        inputs: ``image``, ``mask``, and ``GM``, ``WM``, ``CSF`` fraction maps.
        options: ``alt``.
        style: size of the pictures.
    """
    image, mask = load_image(inputs["image"]), load_mask(inputs["mask"])
    layout = layout_for(image, mask, style)
    colours = Colours("gray", *window(image.data, mask))
    brain = Outline(mask.astype(float), OUTLINES["brain"], width=1.3)
    variants = {
        "Brain mask": (brain,),
        "Tissues": (brain, *outlines(inputs, ("GM", "WM"))),
        "Plain": (),
    }
    return [
        draw(
            layout,
            Scene(image.data, colours, lines, smooth=True),
            style,
            label=label,
            alt=f"{options['alt']} ({label})",
            photo=True,
            group="t1w",
        )
        for label, lines in variants.items()
    ]
