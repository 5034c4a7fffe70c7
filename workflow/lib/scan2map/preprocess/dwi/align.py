"""The diffusion scan and the T1w image in one space."""

from __future__ import annotations

import numpy as np

from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.dwi.gradients import read_gradients
from scan2map.preprocess.registration import Transform, apply_transform, register_rigid, save_transform
from scan2map.provenance import write_sidecar


def mean_b0(dwi, bval, bvec, b0_threshold: float) -> Image:
    """Mean of the b = 0 volumes of a series on disk."""
    image = load_image(dwi)
    gradients = read_gradients(bval, bvec, image.data.shape[3], b0_threshold)
    return Image(image.data[..., gradients.is_b0].mean(3), image.affine)


def align_to_t1w(b0: Image, b0_mask: np.ndarray, t1w: Image, t1w_mask: np.ndarray, seed: int = 1) -> Transform:
    """Rigid transform that brings the diffusion scan onto the T1w image.

    Mutual information inside the brains, from scanner coordinates.

    Returns:
        T1w world to diffusion world (the direction that resampling onto the T1w grid needs).
    """
    return register_rigid(t1w, Image(b0.data * b0_mask, b0.affine), fixed_mask=t1w_mask, seed=seed)


def align_dwi(
    dwi, bval, bvec, mask, t1w, t1w_mask, tissues: dict, settings: dict, *, output: dict, seed: int = 1
) -> None:
    """Register the corrected scan to the T1w image and bring the tissue maps into the diffusion grid.

    Args:
        dwi, bval, bvec, mask: the corrected series and its brain mask.
        t1w, t1w_mask: preprocessed T1w image and its brain mask.
        tissues: tissue probability maps on the T1w grid, by label.
        settings: block ``dwi``.
        output: ``transform`` and one path per tissue label.
        seed: start of the registration's random numbers.
    """
    b0 = mean_b0(dwi, bval, bvec, settings["b0_threshold_s_per_mm2"])
    brain, anatomy, skull_stripped = load_image(mask), load_image(t1w), load_image(t1w_mask)
    stripped = Image(anatomy.data * (skull_stripped.data > 0), anatomy.affine)
    transform = align_to_t1w(b0, brain.data > 0, stripped, skull_stripped.data > 0, seed)
    save_transform(output["transform"], transform)
    write_sidecar(
        output["transform"],
        step="align_dwi",
        description="Rigid transform (ITK) that resamples the diffusion scan onto the T1w image",
        sources=[dwi, t1w],
        settings={"seed": seed},
    )
    for label, path in tissues.items():
        moved = apply_transform(load_image(path), b0, transform.inverse(), "mean")
        save_image(output[label], np.clip(moved.data, 0, 1), b0.affine)
        write_sidecar(
            output[label],
            step="align_dwi",
            description=f"{label} probability in the diffusion grid",
            sources=[path, output["transform"]],
            units="1",
        )
