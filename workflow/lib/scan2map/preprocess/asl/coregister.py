"""The ASL scan and the T1w image in one space: transform, brain mask and tissue maps on the ASL grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.asl.fsl_registration import register_by_fsl
from scan2map.preprocess.boundary import (
    DISTANCES_MM,
    WORST_COST,
    boundary_cost,
    register_to_t1w,
    white_matter_boundary,
)
from scan2map.preprocess.registration import Transform, apply_transform, save_transform
from scan2map.provenance import write_sidecar

TISSUES = ("CSF", "GM", "WM")
# A voxel belongs to the brain if this share of it does in the T1w image ...
BRAIN_SHARE = 0.5
# ... and its M0 reaches this share of the brain's upper quartile (not where the signal has dropped out).
M0_SHARE = 0.3
# The share of the T1w brain within the slices that must have M0 signal; less: the images do not match.
LEAST_OVERLAP = 0.6


class Anatomy(NamedTuple):
    """T1w image, the same with 0 outside the brain, brain mask and tissue fractions on one grid."""

    head: Image
    brain: Image
    mask: Image
    tissues: dict[str, Image]


def load_anatomy(t1w, mask, tissues: dict[str, str]) -> Anatomy:
    """Load the anatomy of a session.

    Args:
        t1w: T1w image without bias field.
        mask: brain mask.
        tissues: file of each tissue fraction, by label.

    Raises:
        DataError: the images are on different grids.
    """
    image, brain = load_image(t1w), load_image(mask)
    require_same_grid(image, brain, names=("T1w image", "brain mask"))
    stripped = Image(image.data * (brain.data > 0), image.affine)
    return Anatomy(image, stripped, brain, {label: load_image(tissues[label]) for label in TISSUES})


class Registration(NamedTuple):
    """Transform (T1w world to ASL world), its cost on the boundary of white matter, and facts for the sidecar."""

    transform: Transform
    cost: float
    facts: dict


def register(image: Image, anatomy: Anatomy, settings: Mapping, seed: int, *, beside) -> Registration:
    """Register an M0 image to the T1w image by the engine of the settings.

    Args:
        image: M0 image, (x, y, z).
        anatomy: of the session.
        settings: ``engine`` (``asl.registration``) and the block ``fsl.registration`` as ``fsl``.
        seed: start of ANTs' random numbers.
        beside: a path in whose folder FSL may work.

    Raises:
        DataError: the images could not be registered.
        ToolError: ANTs or FSL failed.
    """
    tissues, inside = anatomy.tissues, anatomy.mask.data > 0
    if settings["engine"] == "embedded":
        found, cost = register_to_t1w(image, anatomy.brain, tissues["WM"], tissues["CSF"], inside, seed=seed)
        return Registration(found, cost, {"Engine": "embedded"})
    found, facts = register_by_fsl(image, anatomy.head, anatomy.brain, tissues["WM"], settings["fsl"], beside=beside)
    edge = white_matter_boundary(tissues["WM"], tissues["CSF"], inside)
    cost = boundary_cost(image, edge, found, DISTANCES_MM[-1])
    if cost >= WORST_COST:
        raise DataError(
            "FSL could not register the M0 image to the T1w image",
            found=f"boundary cost {cost:.2f}", allowed=f"below {WORST_COST:g}",
            remedy="look at both images, or set asl.registration.engine: embedded",
        )  # fmt: skip
    return Registration(found, cost, facts)


def map_anatomy(anatomy: Anatomy, grid: Image, transform: Transform) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Brain share and tissue fractions of every voxel of another grid.

    Args:
        anatomy: on the T1w grid.
        grid: the other grid.
        transform: T1w world to that grid's world.
    """
    back = transform.inverse()
    share = apply_transform(Image(anatomy.mask.data.astype(np.float32), anatomy.mask.affine), grid, back, "mean").data
    tissues = {name: apply_transform(image, grid, back, "mean").data for name, image in anatomy.tissues.items()}
    return share, {name: np.clip(values, 0, 1) for name, values in tissues.items()}


def brain_mask(m0: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Voxels of the brain that have signal.

    Args:
        m0: M0 image.
        share: share of each voxel that is brain in the T1w image.

    Raises:
        DataError: the brain is not in the field of view, or too little of it has signal.
    """
    brain = share > BRAIN_SHARE
    if not brain.any():
        raise DataError("The ASL scan does not cover the brain of the T1w image", remedy="are both of one session?")
    signal = m0 > M0_SHARE * np.percentile(m0[brain], 75)
    overlap = float(signal[brain].mean())
    if overlap < LEAST_OVERLAP:
        raise DataError(
            "The M0 image has no signal in much of the brain",
            found=f"signal in {100 * overlap:.0f} % of the brain", allowed=f"at least {100 * LEAST_OVERLAP:g} %",
            remedy="look at the M0 image and its registration to the T1w image",
        )  # fmt: skip
    return brain & signal


def mask_overlap(m0: np.ndarray, mask: np.ndarray) -> float:
    """Overlap (Dice) of the brain that the M0 image shows by itself (median filter, Otsu) and that of the T1w image."""
    from dipy.segment.mask import median_otsu

    _, alone = median_otsu(m0, median_radius=1, numpass=1)
    return float(2 * (alone.astype(bool) & mask).sum() / max(float(alone.sum() + mask.sum()), 1))


def register_m0_files(
    m0, t1w, t1w_mask, tissues: dict[str, str], seed: int, settings: Mapping, *, transform, mask, fractions
) -> None:
    """Register the M0 image to the T1w image; write the transform, and brain and tissues on the ASL grid.

    Args:
        m0: M0 image on the ASL grid.
        t1w, t1w_mask: T1w image without bias field and its brain mask.
        tissues: files of the tissue fractions on the T1w grid, by label.
        seed: start of ANTs' random numbers.
        settings: as in :func:`register`.
        transform: output, ITK affine (resamples the ASL scan onto the T1w image).
        mask: output, brain on the ASL grid.
        fractions: outputs, tissue fractions on the ASL grid, by label.
    """
    image, anatomy = load_image(m0), load_anatomy(t1w, t1w_mask, tissues)
    found = register(image, anatomy, settings, seed, beside=transform)
    share, on_grid = map_anatomy(anatomy, image, found.transform)
    brain = brain_mask(image.data, share)
    common = {"step": "register_m0", "sources": [m0, t1w], "settings": dict(settings) | {"seed": seed}}
    save_transform(transform, found.transform)
    write_sidecar(
        transform, description="Rigid transform (ITK) that resamples the ASL scan onto the T1w image",
        BoundaryCost=round(found.cost, 4), MaskOverlap=round(mask_overlap(image.data, brain), 4),
        **found.facts, **common,
    )  # fmt: skip
    save_image(mask, brain, image.affine, dtype=np.uint8)
    write_sidecar(mask, description="Brain with signal on the ASL grid", Type="Brain", **common)
    for label, path in fractions.items():
        save_image(path, on_grid[label], image.affine)
        write_sidecar(path, description=f"Volume fraction of {label} on the ASL grid", units="1", **common)
