"""Pictures of registrations: the same tissue outlines on the moved image and on the T1w image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.images import Image, load_image
from scan2map.preprocess.registration import apply_transform, load_transform
from scan2map.reporting.figures.scenes import Style, draw, layout_for, load_mask, outlines, window
from scan2map.reporting.mosaic import OUTLINES, Colours, Outline, Scene
from scan2map.reporting.pictures import Picture


def tissue_overlay(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """Tissue outlines from the T1w image on an image of another modality, and on the T1w image beside it.

    Args:
        inputs: ``image`` (3-D, or the mean of 4-D), ``mask``, ``T1w``, ``transform`` (image to T1w), and the tissue
            maps ``GM``, ``WM``, ``CSF`` on the grid of the image.
        options: ``alt`` and ``name`` of the image.
        style: size of the pictures.
    """
    image, mask = _mean_volume(load_image(inputs["image"])), load_mask(inputs["mask"])
    to_t1w = load_transform(inputs["transform"])
    t1w = apply_transform(load_image(inputs["T1w"]), image, to_t1w.inverse())
    layout = layout_for(image, mask, style)
    lines = (_brain_outline(inputs), *outlines(inputs, ("WM",)))
    pictures = []
    for name, volume in ((options["name"], image.data), ("T1w", t1w.data)):
        scene = Scene(volume, Colours("gray", *window(volume, mask)), lines, smooth=True)
        alt = f"{options['alt']}: {name}"
        pictures.append(draw(layout, scene, style, label=name, alt=alt, photo=True, group="registration"))
    return pictures


def _brain_outline(inputs: Mapping[str, str]) -> Outline:
    """Where tissue of any kind fills half of a voxel."""
    total = sum(load_image(inputs[name]).data for name in ("GM", "WM", "CSF"))
    return Outline(total, OUTLINES["brain"], width=1.1)


def _mean_volume(image: Image) -> Image:
    data = image.data.mean(-1) if image.data.ndim == 4 else image.data
    return Image(np.clip(data, 0, None), image.affine)
