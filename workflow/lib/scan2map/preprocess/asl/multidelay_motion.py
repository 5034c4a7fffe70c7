"""A multi-delay series corrected for head motion and brought onto the grid of the single-delay scan, in one step."""

from __future__ import annotations

import numpy as np

from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.asl.metadata import Labelling, load_labelling, save_labelling
from scan2map.preprocess.asl.motion import save_motion, series_motion
from scan2map.preprocess.realign import Motion, resample_series
from scan2map.preprocess.registration import Transform, apply_transform, register_rigid, voxel_centres
from scan2map.provenance import write_sidecar


def register_to_m0(series: Image, motion: Motion, m0: Image, mask: np.ndarray, seed: int) -> Transform:
    """Where the M0 grid lies in the first volume of a series: rigid, mutual information inside the brain.

    Args:
        series: (x, y, z, t) as acquired.
        motion: head motion of the series.
        m0: on the grid of the single-delay scan.
        mask: brain on that grid.
        seed: start of ANTs' random numbers.

    Raises:
        ToolError: ANTs failed.
    """
    mean = Image(resample_series(series, motion.matrices, "linear").mean(-1), series.affine)
    return register_rigid(
        m0, mean, fixed_mask=mask, shrink_factors=(2, 1), smoothing_voxels=(1, 0), iterations=(250, 100),
        sampling_rate=0.5, seed=seed,
    )  # fmt: skip


def slice_offsets(labelling: Labelling, series: Image, grid: Image, transform: Transform) -> np.ndarray:
    """When the slice of the series that shows a voxel of another grid is read after the first one, s, (x, y, z).

    Args:
        labelling: of the series.
        series: gives its grid.
        grid: the other grid.
        transform: that grid's world to the world of the series.
    """
    if labelling.slice_delays_s is None:
        return np.zeros(grid.data.shape[:3], dtype=np.float32)
    world = transform.points(voxel_centres(grid.data.shape[:3], grid.affine))
    to_voxel = np.linalg.inv(series.affine)
    slices = world @ to_voxel[2, :3] + to_voxel[2, 3]
    nearest = np.clip(np.rint(slices), 0, series.data.shape[2] - 1).astype(int)
    return np.array(labelling.slice_delays_s, dtype=np.float32)[nearest].reshape(grid.data.shape[:3])


def align_delay_series_files(series, labelling, m0, mask, seed: int, *, preproc, offsets, timing, motion) -> None:
    """Correct a multi-delay series for head motion and bring it onto the grid of the single-delay scan.

    Args:
        series, labelling: what ``prepare_delay_series`` wrote.
        m0, mask: M0 image and brain on the grid of the single-delay scan.
        seed: start of ANTs' random numbers.
        preproc: output, the series on that grid.
        offsets: output, time of each voxel's slice after the first one, s.
        timing: output, the labelling of the aligned series.
        motion: output table, one row per volume.

    Raises:
        DataError: M0 and mask are on different grids.
        ToolError: ANTs failed.
    """
    image, found = load_image(series), load_labelling(labelling)
    grid, brain = load_image(m0), load_image(mask)
    require_same_grid(grid, brain, names=("M0 image", "brain mask"))
    moved = series_motion(image, found)
    transform = register_to_m0(image, moved, grid, brain.data > 0, seed)
    volumes = [
        apply_transform(
            Image(image.data[..., index], image.affine), grid, Transform(matrix @ transform.linear), "cubic"
        ).data
        for index, matrix in enumerate(moved.matrices)
    ]
    save_image(preproc, np.stack(volumes, axis=-1), grid.affine)
    save_image(offsets, slice_offsets(found, image, grid, transform), grid.affine)
    save_labelling(timing, found)
    save_motion(motion, moved, found, "align_delay_series")
    common = {"step": "align_delay_series", "sources": [series, m0], "settings": {"seed": seed}}
    write_sidecar(
        preproc, description="Volumes of the series on the grid of the single-delay scan", units="arbitrary",
        TransformToSeries=np.round(transform.linear, 6).tolist(), **common,
    )  # fmt: skip
    write_sidecar(offsets, description="Time of the voxel's slice after the first slice", units="s", **common)
