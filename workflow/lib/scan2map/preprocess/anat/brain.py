"""Which T1w image is used, and where its brain is."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.provenance import sidecar_path, write_sidecar

LOGGER = logging.getLogger("scan2map")
# No living head has less or more brain than this (ml, with its cerebrospinal fluid); a mask outside is a failed mask.
BRAIN_VOLUME_ML = (400.0, 2500.0)


def choose_t1w(paths: Sequence) -> Path:
    """The T1w image to use: the first that the scanner normalised for coil sensitivity (``NORM``), else the first.

    Args:
        paths: the session's T1w images, in series order.

    Raises:
        DataError: there is none.
    """
    candidates = [Path(path) for path in paths]
    if not candidates:
        raise DataError("The session has no T1w image", remedy="add the T1w series or exclude the session")
    chosen = next((path for path in candidates if _is_normalised(path)), candidates[0])
    LOGGER.info("T1w image: %s (of %d)", chosen.name, len(candidates))
    return chosen


def load_t1w(paths: Sequence) -> tuple[Image, Path]:
    """Load the T1w image to use.

    Returns:
        The image (x, y, z) and its file.

    Raises:
        DataError: there is none, it cannot be read, is not three-dimensional, or is empty.
    """
    path = choose_t1w(paths)
    image = load_image(path)
    data = np.squeeze(image.data)
    if data.ndim != 3:
        raise DataError("The T1w image is not a volume", file=path, found=f"shape {data.shape}", allowed="(x, y, z)")
    if np.ptp(data) == 0:
        raise DataError("The T1w image is empty", file=path, remedy="export the series again")
    return Image(data, image.affine), path


def deepbet_mask(image: Image, threshold: float = 0.5) -> np.ndarray:
    """Brain mask of a T1w image by the deepbet network on the CPU: one piece, without holes.

    Args:
        image: (x, y, z), any orientation.
        threshold: brain probability from which on a voxel is brain.

    Returns:
        Boolean mask on the image's grid; the brain with the fluid around it.

    Raises:
        DataError: the network finds nothing.

    Source: Fisch et al. 2024, NeuroImage: deepbet, fast brain extraction of T1-weighted MRI.
    """
    from deepbet.bet import BrainExtraction

    nifti = nib.Nifti1Image(image.data.astype(np.float32), image.affine)
    try:
        _, mask, _ = BrainExtraction(no_gpu=True).run(nifti, threshold=threshold)
    except (AssertionError, ValueError) as error:
        raise DataError(f"No brain was found in the image ({error})", remedy="look at the image") from error
    return np.asarray(mask.dataobj) > 0


def check_brain_volume(mask: np.ndarray, affine: np.ndarray, *, file=None) -> float:
    """Stop unless a brain mask has a possible volume.

    Returns:
        The volume, ml.

    Raises:
        DataError: the volume lies outside ``BRAIN_VOLUME_ML``.
    """
    volume_ml = float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    low, high = BRAIN_VOLUME_ML
    if not low <= volume_ml <= high:
        raise DataError(
            "The brain mask is not plausible",
            file=file,
            found=f"{volume_ml:.0f} ml",
            allowed=f"{low:g} to {high:g} ml",
            remedy="look at the T1w image: is the whole head in it, the right way round?",
        )
    return volume_ml


def extract_brain_files(t1w: Sequence, settings: dict, *, mask) -> None:
    """Write the brain mask of the session's T1w image.

    Args:
        t1w: the session's T1w images.
        settings: block ``anat``.
        mask: output path.
    """
    image, path = load_t1w(t1w)
    inside = deepbet_mask(image, settings["brain_threshold"])
    volume_ml = check_brain_volume(inside, image.affine, file=path)
    save_image(mask, inside, image.affine, dtype=np.uint8)
    write_sidecar(
        mask,
        step="extract_brain",
        description="Brain mask of the T1w image by deepbet",
        sources=[path],
        settings={"brain_threshold": settings["brain_threshold"]},
        Type="Brain",
        BrainVolume={"Value": round(volume_ml, 1), "Units": "ml"},
    )


def _is_normalised(path: Path) -> bool:
    sidecar = sidecar_path(path)
    if not sidecar.exists():
        return False
    content = json.loads(sidecar.read_text())
    return "NORM" in [*content.get("ImageType", []), *content.get("ImageTypeText", [])]
