"""CT and T1w image onto the grid of the clinical MRI, and how well the CT lies on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.ctmr.hounsfield import AIR_HU, Window, apply_window
from scan2map.preprocess.ctmr.masks import inside_skull
from scan2map.preprocess.registration import Transform, apply_transform, register_rigid, resample_isotropic

REGISTRATION_MM, ANATOMY_MM = 2.0, 3.0
# Soft tissue and the edge of bone both have contrast in this window.
REGISTRATION_WINDOW = Window(100.0, 600.0)
SEARCH = {"shrink_factors": (2, 1), "smoothing_voxels": (1, 0), "iterations": (200, 60), "sampling_rate": 0.25}
BINS = 32
# Share of the brain (MRI) that the skull (CT) must enclose. On the phantom 0.95 where the images match, 0.91 at 5 mm
# and 0.85 at 10 mm off; a turn of 10 degrees about the long axis leaves 0.92, so that this gate finds shifts only.
LEAST_ENCLOSED = 0.88
QC_BONE_HU = 300.0
# A head that lies still between two series of a session moves by millimetres.
LARGEST_SHIFT_MM = 25.0


def register_mri(mri: Image, t1w: Image, brain: Image, seed: int) -> Transform:
    """Rigid registration of a clinical MRI to the T1w image of the session by mutual information.

    Args:
        mri: FLAIR or ADC, (x, y, z).
        t1w: T1w image.
        brain: mask on its grid.
        seed: start of ANTs' random numbers.

    Returns:
        World of the T1w image to world of the MRI.

    Raises:
        DataError: the result moves the head further than a session allows.
        ToolError: ANTs failed.
    """
    fixed = resample_isotropic(Image(t1w.data * (brain.data > 0), t1w.affine), ANATOMY_MM)
    transform = register_rigid(fixed, mri, seed=seed, **SEARCH)
    centre = (np.argwhere(fixed.data > 0).mean(0) @ fixed.affine[:3, :3].T + fixed.affine[:3, 3])[None]
    shift = float(np.linalg.norm(transform.points(centre) - centre))
    if shift > LARGEST_SHIFT_MM:
        raise DataError(
            "The MRI could not be registered to the T1w image", found=f"a shift of {shift:.0f} mm",
            allowed=f"at most {LARGEST_SHIFT_MM:g} mm", remedy="look at both images: do they show the same head?",
        )  # fmt: skip
    return transform


class Alignment(NamedTuple):
    """A registered CT.

    Attributes:
        ct: HU on the MRI's grid.
        transform: world of the MRI to world of the CT.
        information_before, information: normalised mutual information with the MRI inside the head, as scanned and
            registered (1 to 2).
        enclosed: share of the brain that lies inside the skull of the CT.
    """

    ct: Image
    transform: Transform
    information_before: float
    information: float
    enclosed: float


def entropies(first: np.ndarray, second: np.ndarray, bins: int = BINS) -> tuple[float, float, float]:
    """Entropies of two samples of equal length and of both together, nats, from a joint histogram of equal bins."""
    joint = np.histogram2d(first.ravel(), second.ravel(), bins=bins)[0]
    share = joint / joint.sum()

    def entropy(values: np.ndarray) -> float:
        filled = values[values > 0]
        return float(-(filled * np.log(filled)).sum())

    return entropy(share.sum(1)), entropy(share.sum(0)), entropy(share)


def normalised_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """(H(a) + H(b)) / H(a, b) of two samples of equal length, 32 equal bins each: 1 independent, 2 identical.

    Source: Studholme et al. 1999, Pattern Recognition 32:71.
    """
    one, other, both = entropies(first, second)
    return (one + other) / both if both else 2.0


def onto_grid(ct: Image, grid: Image, transform: Transform) -> Image:
    """CT numbers on another grid: linear interpolation averaged over its voxels, air outside the field of view."""
    moved = apply_transform(Image(ct.data - AIR_HU, ct.affine), grid, transform, "mean")
    return Image(moved.data + np.float32(AIR_HU), grid.affine)


def _start(mri: Image, ct: Image) -> Transform:
    """Both heads in one place: middle of the MRI's signal onto the middle of what the CT shows of the head."""
    middles = []
    for image, head in ((mri, mri.data > 0.2 * np.quantile(mri.data, 0.98)), (ct, ct.data > -300)):
        middles.append(np.argwhere(head).mean(0) @ image.affine[:3, :3].T + image.affine[:3, 3])
    start = np.eye(4)
    start[:3, 3] = middles[1] - middles[0]
    return Transform(start)


def _information(mri: Image, ct: Image, inside: np.ndarray) -> float:
    return normalised_mutual_information(mri.data[inside], apply_window(ct.data, REGISTRATION_WINDOW)[inside])


def register_ct(ct: Image, mri: Image, brain: np.ndarray, seed: int) -> Alignment:
    """Rigid registration of the CT to the MRI by mutual information, from the better of two starts.

    The starts are the scanners' coordinates as they are, and the middles of both heads in one place.

    Args:
        ct: HU, (x, y, z).
        mri: (x, y, z); its grid is the result's.
        brain: mask on the MRI's grid.
        seed: start of ANTs' random numbers.

    Raises:
        DataError: too little of the brain lies inside the skull afterwards.
        ToolError: ANTs failed.
    """
    moving = resample_isotropic(ct, REGISTRATION_MM)
    moving = Image(apply_window(moving.data, REGISTRATION_WINDOW), moving.affine)
    head = mri.data > 0.1 * np.quantile(mri.data[brain], 0.5)
    before = _information(mri, onto_grid(ct, mri, Transform()), head)
    centred = _start(mri, ct)
    nearer = centred if _information(mri, onto_grid(ct, mri, centred), head) > before else Transform()
    transform = register_rigid(mri, moving, initial=nearer, seed=seed, **SEARCH)
    moved = onto_grid(ct, mri, transform)
    information = _information(mri, moved, head)
    enclosed = enclosed_share(moved, brain)
    if enclosed < LEAST_ENCLOSED:
        raise DataError(
            "The CT could not be registered to the MRI", found=f"{100 * enclosed:.0f} % of the brain inside the skull",
            allowed=f"at least {100 * LEAST_ENCLOSED:g} %", remedy="look at both images: do they show the same head?",
        )  # fmt: skip
    return Alignment(moved, transform, before, information, enclosed)


def enclosed_share(ct: Image, brain: np.ndarray) -> float:
    """Share of a brain mask that the skull of a CT on the same grid encloses, in slices where it closes a ring."""
    inside = inside_skull(ct.data >= QC_BONE_HU)
    # Slices through the skull base have open rings: they say nothing about the registration.
    closed = inside.sum((0, 1)) > 0.5 * brain.sum((0, 1))
    seen = brain & closed
    return float((inside & seen).sum() / seen.sum()) if seen.any() else 0.0
