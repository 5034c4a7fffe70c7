"""Pictures of the susceptibility correction."""

from __future__ import annotations

from collections.abc import Mapping

import nibabel as nib
import numpy as np
import pandas as pd

from scan2map.errors import DataError
from scan2map.images import load_image
from scan2map.preprocess.dwi.phase_encoding import group_acquisitions
from scan2map.reporting.figures.scenes import Style, draw, layout_for, load_mask, window
from scan2map.reporting.mosaic import Colours, Scene
from scan2map.reporting.pictures import Picture

OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))


def anatomical_direction(phase_encoding: str, affine: np.ndarray) -> str:
    """The way of the phase encoding through the head, e.g. ``AP`` for ``j-`` where j points forward.

    Args:
        phase_encoding: BIDS ``PhaseEncodingDirection``.
        affine: voxel to world, 4x4.
    """
    towards = nib.aff2axcodes(affine)["ijk".index(phase_encoding[0])]
    away = OPPOSITE[towards]
    return towards + away if phase_encoding.endswith("-") else away + towards


def acquisition_names(acquisition, affine: np.ndarray) -> list[str]:
    """Name of each mean b = 0 image: its phase encoding, numbered where several share it.

    Args:
        acquisition: table of all b = 0 volumes with ``phase_encoding`` and ``total_readout_time_s``.
        affine: voxel to world, 4x4.
    """
    table = pd.read_csv(acquisition, sep="\t")
    groups = np.asarray(group_acquisitions(list(table.phase_encoding), list(table.total_readout_time_s)))
    encodings = [table.phase_encoding[int(np.flatnonzero(groups == group)[0])] for group in range(groups.max() + 1)]
    names = [anatomical_direction(encoding, affine) for encoding in encodings]
    return [name if names.count(name) == 1 else f"{name} {place + 1}" for place, name in enumerate(names)]


def opposed_b0(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """The b = 0 images of each phase encoding before and after the correction, same slices.

    Args:
        inputs: ``uncorrected`` and ``corrected``, (x, y, z, n); ``acquisition``, the table of the b = 0 volumes;
            ``mask``.
        options: ``alt``.
        style: size of the pictures.

    Raises:
        DataError: the images are not one volume per phase encoding.
    """
    stages = {"before": load_image(inputs["uncorrected"]), "after": load_image(inputs["corrected"])}
    mask = load_mask(inputs["mask"])
    names = acquisition_names(inputs["acquisition"], stages["after"].affine)
    layout = layout_for(stages["after"], mask, style)
    pictures = []
    for stage, image in stages.items():
        _require_volumes(image.data, len(names), inputs)
        for place, name in enumerate(names):
            volume = np.clip(image.data[..., place], 0, None)
            scene = Scene(volume, Colours("gray", *window(volume, mask)), smooth=True)
            label = f"{name}, {stage}"
            alt = f"{options['alt']}: {label}"
            pictures.append(draw(layout, scene, style, label=label, alt=alt, photo=True, group=stage))
    return pictures


def _require_volumes(volumes: np.ndarray, wanted: int, inputs: Mapping[str, str]) -> None:
    if volumes.ndim != 4 or volumes.shape[3] != wanted:
        raise DataError(
            "The b = 0 images do not fit their acquisition table",
            file=inputs["corrected"],
            found=volumes.shape,
            allowed=f"{wanted} volumes",
        )
