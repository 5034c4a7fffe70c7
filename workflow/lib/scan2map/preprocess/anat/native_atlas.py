"""Label images that a lab drew or computed on a subject's own T1w image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scan2map.errors import DataError, SettingError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.anat.template import label_table, load_label_names
from scan2map.preprocess.registration import Transform, apply_transform
from scan2map.provenance import write_sidecar

# Labels outside the brain mask (skull, eyes) do not count; an atlas of which less lies in the brain is another head's.
LEAST_IN_BRAIN = 0.5


def map_native_atlas_files(atlas, mask, *, labels) -> None:
    """Write a subject's own label image on the grid of its T1w image.

    Args:
        atlas: label image in scanner space.
        mask: brain mask on the T1w grid.
        labels: output path.

    Raises:
        DataError: the labels are no whole numbers, or most of them lie outside the brain.
    """
    brain, image = load_image(mask), load_image(atlas)
    if image.data.ndim != 3 or not np.array_equal(image.data, np.round(image.data)):
        raise DataError(
            "The atlas is not an image of labels", file=atlas, allowed="one volume of whole numbers",
            remedy="resample it with nearest neighbours",
        )  # fmt: skip
    _require_brain(image, brain, atlas)
    moved = apply_transform(load_image(atlas, dtype=np.int32), brain, Transform(), "nearest").data
    found = np.where(brain.data > 0, moved, 0)
    save_image(labels, found, brain.affine, dtype=np.int32)
    write_sidecar(
        labels,
        step="map_native_atlas",
        description=f"Regions of the subject's own atlas ({Path(atlas).name}) on the T1w grid",
        sources=[atlas, mask],
        Labels=_names(atlas, found),
    )


def _require_brain(atlas: Image, brain: Image, file) -> None:
    labelled = atlas.data > 0
    inside = apply_transform(Image(brain.data.astype(np.float32), brain.affine), atlas, Transform(), "nearest").data > 0
    share = (labelled & inside).sum() / max(int(labelled.sum()), 1)
    if share < LEAST_IN_BRAIN:
        raise DataError(
            "The atlas does not lie on the T1w image", file=file, found=f"{100 * share:.0f} % of it in the brain",
            allowed=f"at least {100 * LEAST_IN_BRAIN:g} %", remedy="is it in scanner space, and of this session?",
        )  # fmt: skip


def _names(atlas, labels: np.ndarray) -> dict[int, str]:
    """Names from the table beside the image; labels without a name are called by their number.

    Raises:
        DataError: there is a table, but it lacks its columns.
    """
    numbers = {int(value): str(int(value)) for value in np.unique(labels) if value > 0}
    if not label_table(atlas).is_file():
        return numbers
    try:
        return numbers | load_label_names(atlas)
    except SettingError as error:
        raise DataError(str(error)) from error
