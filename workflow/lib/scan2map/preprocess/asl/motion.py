"""Head motion within an ASL series, and between the series and its M0 image."""

from __future__ import annotations

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.asl.metadata import Labelling, load_labelling
from scan2map.preprocess.realign import Motion, estimate_motion, motion_of, resample_series, without_pattern
from scan2map.preprocess.registration import Transform, apply_transform, register_rigid, rigid_parameters
from scan2map.provenance import write_sidecar

# Brain is what reaches this share of the bright end of the mean image: enough to follow its motion.
SIGNAL_SHARE = 0.3
# Nobody moves further than this (mm) between the M0 image and the series without the operator scanning again.
FARTHEST_M0_MM = 30.0
COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def rough_mask(image: np.ndarray) -> np.ndarray:
    """Where an image has signal: the brain and what surrounds it."""
    return image > SIGNAL_SHARE * np.percentile(image, 98)


def series_motion(series: Image, labelling: Labelling) -> Motion:
    """Head motion of a series relative to its first volume.

    Difference images alone (``deltam``) carry no anatomy to follow: no motion.

    Args:
        series: (x, y, z, t) control and label volumes.
        labelling: of these volumes.
    """
    mask = rough_mask(np.abs(series.data).mean(-1))
    if labelling.volumes_of("deltam"):
        centre = np.argwhere(mask).mean(0) @ series.affine[:3, :3].T + series.affine[:3, 3]
        return motion_of(np.stack([np.eye(4)] * series.data.shape[3]), centre)
    pattern = np.array([1.0 if kind == "control" else -1.0 for kind in labelling.volume_types])
    return without_pattern(estimate_motion(series, mask), pattern)


def correct_series(series: Image, labelling: Labelling) -> tuple[np.ndarray, Motion]:
    """Bring every volume to the position of the first (difference images alone stay as they are).

    Args:
        series: (x, y, z, t) control and label volumes.
        labelling: of these volumes.

    Returns:
        Corrected volumes (x, y, z, t), cubic interpolation, and the motion.
    """
    motion = series_motion(series, labelling)
    if labelling.volumes_of("deltam"):
        return series.data, motion
    return resample_series(series, motion.matrices), motion


def align_m0(m0: Image, series: Image, labelling: Labelling, seed: int) -> tuple[Image, Transform]:
    """Bring the M0 image onto the corrected series.

    Args:
        m0: as acquired, (x, y, z), any grid.
        series: corrected volumes, (x, y, z, t).
        labelling: of the series.
        seed: start of ANTs' random numbers.

    Returns:
        The M0 image on the grid of the series, and the transform (series' world to the M0's world).

    Raises:
        DataError: the M0 image lies too far off.
    """
    grid = Image(series.data[..., 0], series.affine)
    if labelling.m0_type in ("Estimate", "Absent") or labelling.volumes_of("deltam"):
        return apply_transform(m0, grid, Transform(), "cubic"), Transform()
    mean = Image(series.data.mean(-1), series.affine)
    transform = register_rigid(
        mean, m0, shrink_factors=(2, 1), smoothing_voxels=(1, 0), iterations=(250, 100), sampling_rate=0.5, seed=seed
    )
    shift = float(np.linalg.norm(rigid_parameters(transform.linear, _middle(mean))[0]))
    if shift > FARTHEST_M0_MM:
        raise DataError(
            "The M0 image and the ASL series do not show the head in one place",
            found=f"{shift:.0f} mm apart", allowed=f"at most {FARTHEST_M0_MM:g} mm",
            remedy="does the M0 image belong to this series?",
        )  # fmt: skip
    return apply_transform(m0, grid, transform, "cubic"), transform


def correct_asl_motion_files(series, m0scan, labelling, seed: int, *, preproc, m0, motion) -> None:
    """Correct an ASL series for head motion and bring its M0 image onto it.

    Args:
        series, m0scan, labelling: what ``prepare_asl`` wrote.
        seed: start of ANTs' random numbers.
        preproc: output, corrected series.
        m0: output, M0 image on the grid of the series.
        motion: output table, one row per volume.
    """
    image, timing = load_image(series), load_labelling(labelling)
    corrected, moved = correct_series(image, timing)
    aligned, transform = align_m0(load_image(m0scan), Image(corrected, image.affine), timing, seed)
    save_image(preproc, corrected, image.affine)
    save_image(m0, np.maximum(aligned.data, 0), image.affine)
    save_motion(motion, moved, timing, "correct_asl_motion")
    common = {"step": "correct_asl_motion", "settings": {"seed": seed}, "units": "arbitrary"}
    write_sidecar(preproc, description="ASL volumes at the position of the first", sources=[series], **common)
    write_sidecar(
        m0, description="M0 image on the grid of the ASL series", sources=[m0scan, series],
        TransformToM0=np.round(transform.linear, 6).tolist(), **common,
    )  # fmt: skip


def save_motion(path, motion: Motion, labelling: Labelling, step: str) -> None:
    """Write a table of head motion, one row per volume, with its data dictionary."""
    import pandas as pd

    table = pd.DataFrame(motion.parameters, columns=list(COLUMNS)).round(6)
    table.insert(0, "volume_type", labelling.volume_types)
    table["framewise_displacement"] = motion.framewise_displacement_mm.round(6)
    table.to_csv(path, sep="\t", index=False)
    units = dict.fromkeys(COLUMNS[:3], "mm") | dict.fromkeys(COLUMNS[3:], "rad") | {"framewise_displacement": "mm"}
    write_sidecar(
        path, step=step, description="Head position relative to the first volume (world axes)",
        RotationCentre=np.round(motion.centre_mm, 3).tolist(),
        **{name: {"Units": unit} for name, unit in units.items()},
    )  # fmt: skip


def _middle(image: Image) -> np.ndarray:
    return (np.array(image.data.shape[:3]) - 1) / 2 @ image.affine[:3, :3].T + image.affine[:3, 3]
