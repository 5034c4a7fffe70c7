"""The corrected diffusion series: motion estimated, outlier slices replaced, everything undone in one interpolation."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from scan2map.derivative_tables import read_frame, write_frame
from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.dwi.eddy import TERMS
from scan2map.preprocess.dwi.estimate import (
    compare,
    corrected_volume,
    corrected_volumes,
    estimate_motion,
    head_gradients,
)
from scan2map.preprocess.dwi.gradients import GradientTable, read_gradients, write_gradients
from scan2map.preprocess.dwi.motion import Motion, Scan
from scan2map.preprocess.dwi.outliers import SLICE_AXIS, find_outliers, replace_slices, worst_of_neighbours
from scan2map.preprocess.dwi.resample import voxel_motion
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_parameters
from scan2map.provenance import write_sidecar

LOGGER = logging.getLogger("scan2map")

# Radius of the sphere on which rotations become displacements (Power et al. 2012, NeuroImage 59:2142).
HEAD_RADIUS_MM = 50.0
# A volume of which more slices than this are outliers tells nothing by itself any more.
MAX_OUTLIER_SHARE = 0.5
# Lost slices side by side are found in so many rounds, the last of which takes all that are left.
ROUNDS = 3

RIGID_COLUMNS = {
    **{f"trans_{axis}": {"Description": f"Translation along world {axis} (RAS+)", "Units": "mm"} for axis in "xyz"},
    **{f"rot_{axis}": {"Description": f"Rotation about world {axis}, R = Rx Ry Rz", "Units": "rad"} for axis in "xyz"},
}
EDDY_COLUMNS = {
    f"eddy_{term}": {
        "Description": f"Eddy-current field, coefficient of {term}; positions in mm along voxel axes from the centre",
        "Units": "Hz" if term == "offset" else "Hz/mm" + ("2" if len(term) == 2 else ""),
    }
    for term in TERMS
}
MOTION_COLUMNS = {
    "volume": {"Description": "Number of the volume in the merged series, from 0"},
    **RIGID_COLUMNS,
    **EDDY_COLUMNS,
    "framewise_displacement": {
        "Description": "Sum of absolute changes of the six rigid parameters since the volume before, rotations on a "
        f"sphere of {HEAD_RADIUS_MM:g} mm",
        "Units": "mm",
    },
}
SLICE_COLUMNS = {
    "volume": {"Description": "Number of the volume in the merged series, from 0"},
    "slice": {"Description": "Number of the slice in the volume as measured, from 0"},
    "score": {"Description": "Mean residual against the prediction, robust standard deviations", "Units": "1"},
    "outlier": {"Description": "yes: signal was lost and the slice was replaced by its prediction"},
}


class Correction(NamedTuple):
    """Result of the correction.

    Attributes:
        data: (x, y, z, t) corrected series.
        gradients: table with b-vectors rotated into the reference head position.
        motion: what was undone.
        scores: (t, slices) residual of each slice as measured, robust standard deviations; 0 where not judged.
        outliers: (t, slices) slices that were replaced.
    """

    data: np.ndarray
    gradients: GradientTable
    motion: Motion
    scores: np.ndarray
    outliers: np.ndarray


def judge_slices(
    scan: Scan, motion: Motion, volumes: torch.Tensor, mask: np.ndarray, threshold_sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compare every slice of the weighted volumes with its prediction.

    Args:
        scan, motion: the series and its motion.
        volumes: (t, x, y, z) corrected volumes.
        mask: where they are compared.
        threshold_sd: an outlier is so many standard deviations below its prediction.

    Returns:
        Scores (t, slices), 0 for b = 0, and the matrix of predictions among the weighted volumes.
    """
    index = np.flatnonzero(~scan.gradients.is_b0)
    voxels = np.argwhere(mask).T
    inside = torch.as_tensor(mask, device=volumes.device)
    slices = torch.as_tensor(
        np.stack([_slice_of(voxels, voxel_motion(motion.rigid[one], scan.affine)) for one in index])
    ).to(volumes)
    table = head_gradients(scan, motion, index)
    signal = volumes[torch.as_tensor(index)][:, inside]
    found = compare(signal, slices, table, scan.shape[SLICE_AXIS], threshold_sd)
    scores = np.zeros((len(scan.gradients), scan.shape[SLICE_AXIS]))
    scores[index] = found.scores
    return scores, found.matrix


def _slice_of(voxels: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return np.rint(motion[SLICE_AXIS, :3] @ voxels + motion[SLICE_AXIS, 3])


def replace_chosen(
    scan: Scan, motion: Motion, volumes: torch.Tensor, chosen: np.ndarray, matrix: np.ndarray
) -> torch.Tensor:
    """Replace slices as measured by their predictions, and correct those volumes again.

    Args:
        scan, motion: the series and its motion.
        volumes: (t, x, y, z) corrected volumes; changed in place.
        chosen: (t, slices).
        matrix: predictions among the weighted volumes.
    """
    index = np.flatnonzero(~scan.gradients.is_b0)
    operator = torch.as_tensor(matrix).to(volumes)
    for volume in np.flatnonzero(chosen.any(axis=1)):
        weights = operator[int(np.flatnonzero(index == volume)[0])]
        prediction = torch.tensordot(weights, volumes[torch.as_tensor(index)], dims=1)
        measured = replace_slices(scan, motion, int(volume), chosen[volume], prediction)
        scan.volumes[int(volume)] = measured
        volumes[int(volume)] = corrected_volume(scan, motion, int(volume))
    return volumes


def replace_outliers(
    scan: Scan, motion: Motion, volumes: torch.Tensor, mask: np.ndarray, threshold_sd: float
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Find outlier slices and replace them, the worst of neighbours first.

    Interpolation spreads a lost slice over its neighbours: they are judged again once it is replaced.

    Args:
        scan, motion: the series and its motion.
        volumes: (t, x, y, z) corrected volumes; changed in place.
        mask: where slices are compared.
        threshold_sd: an outlier is so many standard deviations below its prediction.

    Returns:
        The volumes, and per slice (t, slices) the last score before it was replaced, if it was, and whether it was.
    """
    replaced = np.zeros((len(scan.gradients), scan.shape[SLICE_AXIS]), bool)
    scores = np.zeros(replaced.shape)
    for last in (False,) * (ROUNDS - 1) + (True,):
        found, matrix = judge_slices(scan, motion, volumes, mask, threshold_sd)
        scores = np.where(replaced, scores, found)
        outliers = find_outliers(found, threshold_sd) & ~replaced
        chosen = outliers if last else worst_of_neighbours(outliers, found)
        if not chosen.any():
            break
        volumes = replace_chosen(scan, motion, volumes, chosen, matrix)
        replaced |= chosen
    return volumes, scores, replaced


def correct_scan(scan: Scan, mask: np.ndarray, settings: dict, seed: int = 1) -> Correction:
    """Estimate and undo motion and eddy currents together with the susceptibility distortion.

    Args:
        scan: the measured series; outlier slices in ``scan.volumes`` are overwritten.
        mask: brain mask on the reference grid.
        settings: block ``dwi.motion``.
        seed: start of the random choice of voxels.
    """
    if not settings["correct"]:
        motion, still = Motion.none(len(scan.gradients)), np.zeros((len(scan.gradients), scan.shape[SLICE_AXIS]))
        data = corrected_volumes(scan, motion).permute(1, 2, 3, 0).cpu().numpy()
        return Correction(data, scan.gradients, motion, still, still.astype(bool))
    threshold = settings["outlier_threshold_sd"]
    motion = estimate_motion(
        scan, mask, voxels=settings["voxels"], threshold_sd=threshold, eddy_model=settings["eddy_model"], seed=seed
    )
    volumes = corrected_volumes(scan, motion)
    volumes, scores, outliers = replace_outliers(scan, motion, volumes, mask, threshold)
    gradients = scan.gradients.rotated(motion.rigid[:, :3, :3], scan.affine)
    return Correction(volumes.permute(1, 2, 3, 0).cpu().numpy(), gradients, motion, scores, outliers)


def motion_table(motion: Motion, centre_mm: np.ndarray) -> pd.DataFrame:
    """One row per volume, columns of ``MOTION_COLUMNS``."""
    parameters = np.array([rigid_parameters(rigid, centre_mm) for rigid in motion.rigid])
    steps = np.abs(np.diff(parameters, axis=0, prepend=parameters[:1]))
    displacement = steps[:, :3].sum(1) + HEAD_RADIUS_MM * steps[:, 3:].sum(1)
    columns = [np.arange(len(parameters)), *parameters.T, *motion.eddy.T, displacement]
    return pd.DataFrame(dict(zip(MOTION_COLUMNS, columns, strict=True)))


def slice_table(correction: Correction) -> pd.DataFrame:
    """One row per volume and slice, columns of ``SLICE_COLUMNS``."""
    volumes, slices = np.indices(correction.scores.shape)
    outlier = np.where(correction.outliers, "yes", "no")
    columns = [volumes.ravel(), slices.ravel(), correction.scores.ravel(), outlier.ravel()]
    return pd.DataFrame(dict(zip(SLICE_COLUMNS, columns, strict=True)))


def require_signal(correction: Correction, file) -> None:
    """Stop when so many slices of a volume are outliers that its prediction is all that is left of it.

    Raises:
        DataError: names the volumes.
    """
    share = correction.outliers.mean(axis=1)
    lost = np.flatnonzero(share > MAX_OUTLIER_SHARE)
    if lost.size:
        raise DataError(
            "Volumes of the diffusion series have lost their signal",
            file=file,
            found="volumes " + ", ".join(f"{volume} ({100 * share[volume]:.0f} % of its slices)" for volume in lost),
            allowed=f"at most {100 * MAX_OUTLIER_SHARE:.0f} % outlier slices in a volume",
            remedy="exclude the series in exclusions.tsv, or take these volumes out of it",
        )


def read_scan(dwi, bval, bvec, acquisition, fieldmap, b0_threshold: float, device: str) -> Scan:
    """The merged series and its field map as one object on the device.

    Raises:
        DataError: files that cannot be read or do not fit each other.
    """
    image, field = load_image(dwi), load_image(fieldmap)
    require_same_grid(image, field, names=("the diffusion series", "the field map"))
    table = read_frame(acquisition, ("phase_encoding", "total_readout_time_s"))
    gradients = read_gradients(bval, bvec, image.data.shape[3], b0_threshold)
    if len(table) != len(gradients):
        raise DataError("The acquisition table does not fit the series", file=acquisition, found=f"{len(table)} rows")
    return Scan(
        volumes=torch.as_tensor(np.ascontiguousarray(np.moveaxis(image.data, 3, 0)), device=device),
        affine=image.affine,
        gradients=gradients,
        phase_encoding=tuple(table["phase_encoding"]),
        readout_time_s=tuple(float(value) for value in table["total_readout_time_s"]),
        field_hz=torch.as_tensor(field.data, device=device),
    )


def correct_motion(
    dwi, bval, bvec, acquisition, fieldmap, mask, settings: dict, *, output: dict, device: str = "cpu", seed: int = 1
) -> None:
    """Undo susceptibility distortion, head motion and eddy currents in one interpolation, and write the result.

    Args:
        dwi, bval, bvec, acquisition: the merged series.
        fieldmap: susceptibility field in the position of the first b = 0 volume, Hz.
        mask: brain mask on that grid.
        settings: block ``dwi``.
        output: paths ``dwi``, ``bval``, ``bvec``, ``motion``, ``outliers``.
        device: torch device.
        seed: start of the random choice of voxels.

    Raises:
        DataError: bad input, or volumes without signal.
    """
    scan = read_scan(dwi, bval, bvec, acquisition, fieldmap, settings["b0_threshold_s_per_mm2"], device)
    brain = load_image(mask)
    require_same_grid(Image(brain.data, scan.affine), brain, names=("the diffusion series", "its brain mask"))
    correction = correct_scan(scan, brain.data > 0, settings["motion"], seed)
    require_signal(correction, dwi)
    LOGGER.info("%d outlier slices replaced", correction.outliers.sum())
    save_image(output["dwi"], correction.data, scan.affine)
    write_gradients(correction.gradients, output["bval"], output["bvec"])
    common = {"step": "correct_motion", "sources": [dwi, bvec, acquisition, fieldmap, mask]}
    common["settings"] = {**settings["motion"], "seed": seed}
    write_sidecar(
        output["dwi"],
        description="Diffusion series without susceptibility distortion, head motion and eddy currents; "
        "one cubic interpolation with Jacobian modulation; b-vectors rotated",
        units="arbitrary",
        OutlierSlices=int(correction.outliers.sum()),
        **common,
    )
    table = motion_table(correction.motion, grid_centre_mm(scan.shape, scan.affine))
    write_frame(
        output["motion"],
        table,
        MOTION_COLUMNS,
        description="Head motion from the first b = 0 volume to each volume, and its eddy-current field",
        **common,
    )
    write_frame(
        output["outliers"],
        slice_table(correction),
        SLICE_COLUMNS,
        description="Residual of every slice against its prediction",
        **common,
    )
