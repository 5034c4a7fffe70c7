"""The diffusion scan and the T1w image in one space: rigid, on the boundary of white matter (Greve and Fischl 2009)."""

from __future__ import annotations

import numpy as np

from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.boundary import register_to_t1w
from scan2map.preprocess.dwi.gradients import read_gradients
from scan2map.preprocess.registration import apply_transform, save_transform
from scan2map.provenance import write_sidecar


def mean_b0(dwi, bval, bvec, b0_threshold: float) -> Image:
    """Mean of the b = 0 volumes of a series on disk."""
    image = load_image(dwi)
    gradients = read_gradients(bval, bvec, image.data.shape[3], b0_threshold)
    return Image(image.data[..., gradients.is_b0].mean(3), image.affine)


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

    Raises:
        DataError: the two images cannot be registered.
    """
    b0 = mean_b0(dwi, bval, bvec, settings["b0_threshold_s_per_mm2"])
    diffusion_brain, anatomy, brain = load_image(mask).data > 0, load_image(t1w), load_image(t1w_mask).data > 0
    transform, cost = register_to_t1w(
        Image(b0.data * diffusion_brain, b0.affine),
        Image(anatomy.data * brain, anatomy.affine),
        load_image(tissues["WM"]),
        load_image(tissues["CSF"]),
        brain,
        seed=seed,
    )
    save_transform(output["transform"], transform)
    write_sidecar(
        output["transform"],
        step="align_dwi",
        description="Rigid transform (ITK) that resamples the diffusion scan onto the T1w image",
        sources=[dwi, t1w],
        settings={"seed": seed},
        BoundaryCost=round(cost, 4),
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
