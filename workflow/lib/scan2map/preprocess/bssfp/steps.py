"""The steps of phase-cycled bSSFP on files: prepare the complex series, bring it onto the diffusion grid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.bssfp.complex_images import (
    complex_images,
    correct_global_phase,
    mean_magnitude,
    phase_radians,
    remove_gibbs,
    resample_complex,
)
from scan2map.preprocess.registration import (
    Transform,
    apply_transform,
    load_transform,
    register_rigid,
    resample_isotropic,
    save_transform,
)
from scan2map.provenance import sidecar_path, write_sidecar
from scan2map.quality.gates import check_map

INCREMENTS = "PhaseCycleIncrements_deg"
# What a reader of the images must know of how they were acquired; it travels in the sidecars.
TIMING = ("RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength", INCREMENTS)
REGISTRATION_MM = 2.0
MASK_MARGIN = 0.05
# A head that lies still between two series of a session moves by millimetres.
LARGEST_SHIFT_MM = 25.0


def _only(paths: Sequence, what: str) -> str:
    if len(paths) != 1:
        raise DataError(
            f"The session has several {what} images",
            found=", ".join(Path(path).name for path in paths),
            allowed="one",
            remedy="exclude all but one run (exclusions table)",
        )
    return paths[0]


def _increments(metadata: Mapping, cycles: int, file) -> list[float]:
    """Phase increments of a series, checked: one per volume, equally spaced over the circle."""
    found = [float(value) for value in metadata.get(INCREMENTS, [])]
    wanted = [360 * index / cycles for index in range(cycles)]
    if not np.allclose(found, wanted, atol=0.5) if len(found) == cycles else True:
        raise DataError(
            "The phase cycles of the bSSFP series are not what its volumes say",
            file=file,
            found=f"{cycles} volumes, {INCREMENTS}: {found or 'missing'}",
            allowed=f"{wanted}",
            remedy=f"write {INCREMENTS} into the sidecar through the study's bidsmap",
        )
    return found


def load_complex(magnitude, phase) -> tuple[Image, dict]:
    """The complex series of stored magnitude and phase, and how it was acquired.

    Args:
        magnitude, phase: 4-D images with their sidecars.

    Raises:
        DataError: grids, number of cycles, increments or the scale of the phase do not fit.
    """
    stored = load_image(magnitude), load_image(phase)
    require_same_grid(*stored, names=("bSSFP magnitude", "bSSFP phase"))
    if stored[0].data.ndim != 4 or stored[0].data.shape != stored[1].data.shape:
        shapes = f"{stored[0].data.shape} and {stored[1].data.shape}"
        raise DataError(
            "Magnitude and phase of the bSSFP series do not have the same phase cycles", file=magnitude, found=shapes,
            allowed="two series (x, y, z, cycles) of one shape", remedy="export both series again",
        )  # fmt: skip
    sidecars = [json.loads(sidecar_path(path).read_text()) for path in (magnitude, phase)]
    _increments(sidecars[0], stored[0].data.shape[3], magnitude)
    angle = phase_radians(stored[1].data, sidecars[1].get("Units", "arbitrary"), phase)
    facts = {name: sidecars[0][name] for name in TIMING if name in sidecars[0]}
    return Image(complex_images(stored[0].data, angle), stored[0].affine), facts


def _save_parts(images: Image, output: Mapping[str, str], *, step: str, text: str, **told) -> None:
    parts = {"magnitude": np.abs(images.data), "phase": np.angle(images.data)}
    units = {"magnitude": "arbitrary", "phase": "rad"}
    for name, values in parts.items():
        save_image(output[name], values, images.affine)
        write_sidecar(output[name], step=step, description=f"{text}, {name}", units=units[name], **told)


def prepare_bssfp(magnitudes: Sequence, phases: Sequence, settings: Mapping, *, output: Mapping[str, str]) -> None:
    """Rescale the phase, take the scanner's constant phase out of each cycle, suppress Gibbs ringing.

    Args:
        magnitudes, phases: the session's files of the two roles.
        settings: block ``bssfp``.
        output: ``magnitude`` and ``phase``.
    """
    magnitude, phase = _only(magnitudes, "bSSFP magnitude"), _only(phases, "bSSFP phase")
    images, facts = load_complex(magnitude, phase)
    corrected = correct_global_phase(images.data)
    if settings["remove_gibbs"]:
        corrected = remove_gibbs(corrected)
    _save_parts(
        Image(corrected, images.affine), output, step="prepare_bssfp", text="Phase-cycled bSSFP",
        sources=[magnitude, phase], settings=settings, **facts,
    )  # fmt: skip


def register_bssfp(images: Image, t1w: Image, t1w_mask: Image, seed: int) -> Transform:
    """Rigid registration of the mean magnitude to the T1w image by mutual information (T1w world to bSSFP world).

    Steady-state images show grey and white matter alike, so that the boundary of white matter does not help.

    Raises:
        DataError: the result moves the head further than a session allows.
    """
    fixed = resample_isotropic(t1w, REGISTRATION_MM)
    brain = apply_transform(Image((t1w_mask.data > 0).astype(np.float32), t1w_mask.affine), fixed, Transform(), "mean")
    transform = register_rigid(
        fixed, Image(mean_magnitude(images.data), images.affine), fixed_mask=brain.data > MASK_MARGIN,
        shrink_factors=(2, 1), smoothing_voxels=(1, 0), iterations=(250, 100), sampling_rate=0.5, seed=seed,
    )  # fmt: skip
    centre = np.argwhere(brain.data > MASK_MARGIN).mean(0) @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    shift = float(np.linalg.norm(transform.points(centre[None])[0] - centre))
    if shift > LARGEST_SHIFT_MM:
        raise DataError(
            "The bSSFP series could not be registered to the T1w image", found=f"a shift of {shift:.0f} mm",
            allowed=f"at most {LARGEST_SHIFT_MM:g} mm", remedy="look at both images: do they show the same head?",
        )  # fmt: skip
    return transform


def on_diffusion_grid(images: Image, brain: Image, transform: Transform) -> Image:
    """Complex images on the diffusion grid, 0 outside the brain, each cycle's phase relative to its sum in the brain.

    Args:
        images: complex (x, y, z, cycles).
        brain: mask on the diffusion grid.
        transform: diffusion world to the world of the images.
    """
    moved = resample_complex(images, brain, transform).data * (brain.data > 0)[..., None]
    return Image(correct_global_phase(moved), brain.affine)


def align_bssfp(magnitude, phase, t1w, t1w_mask, dwi_mask, dwi_to_t1w, seed: int, *, output: Mapping[str, str]) -> None:
    """Bring the complex series and the T1w image onto the diffusion grid in one interpolation each.

    Args:
        magnitude, phase: what :func:`prepare_bssfp` wrote.
        t1w, t1w_mask: preprocessed T1w image and its brain mask.
        dwi_mask: brain mask of the diffusion scan: gives the grid.
        dwi_to_t1w: ITK transform that resamples the diffusion scan onto the T1w image.
        seed: start of the registration's random numbers.
        output: ``transform``, ``magnitude``, ``phase``, ``t1w``.

    Raises:
        DataError: the registration failed, or no signal is left in the brain.
    """
    images, facts = load_complex(magnitude, phase)
    anatomy, brain = load_image(t1w), load_image(dwi_mask)
    from_t1w = register_bssfp(images, anatomy, load_image(t1w_mask), seed)
    to_t1w = load_transform(dwi_to_t1w).inverse()  # diffusion world to T1w world
    moved = on_diffusion_grid(images, brain, Transform(from_t1w.linear @ to_t1w.linear))
    check_map(
        mean_magnitude(moved.data), brain.data > 0, name="bSSFP magnitude on the diffusion grid", unit="arbitrary",
        median_range=(np.finfo(np.float32).tiny, np.inf), file=magnitude,
    )  # fmt: skip
    told = {"step": "align_bssfp", "sources": [magnitude, phase, t1w, dwi_to_t1w], "settings": {"seed": seed}}
    save_transform(output["transform"], from_t1w)
    write_sidecar(
        output["transform"], description="Rigid transform (ITK) that resamples bSSFP onto the T1w image", **told
    )
    _save_parts(moved, output, text="Phase-cycled bSSFP in the diffusion grid", **told, **facts)
    flat = apply_transform(anatomy, brain, to_t1w, "mean").data * (brain.data > 0)
    save_image(output["t1w"], flat, brain.affine)
    write_sidecar(output["t1w"], description="T1w image in the diffusion grid", units="arbitrary", **told)
