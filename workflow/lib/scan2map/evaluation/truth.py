"""A simulated session against what is true about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from scan2map.evaluation import agreement
from scan2map.evaluation.grids import on_grid
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.maps import TENSOR_UNITS, TISSUES
from scan2map.evaluation.plain_tensor import fit_plain_tensor
from scan2map.images import Image, load_image
from scan2map.preprocess.dwi.gradients import read_gradients
from scan2map.preprocess.dwi.tensor import COLUMNS as TENSOR_COLUMNS
from scan2map.preprocess.dwi.tensor import ROWS as TENSOR_ROWS
from scan2map.preprocess.dwi.tensor import tensor_volumes

DESCRIPTION = "Measured maps of a simulated session against its ground truth"
# Below this anisotropy a voxel has no direction worth the name.
DIRECTION_MIN_FA = 0.2
# Map, its truth, unit.
PERFUSION = (
    ("CBF", "true_CBF", "ml/100g/min"),
    ("CBF_multidelay", "true_CBF", "ml/100g/min"),
    ("ATT", "true_ATT", "s"),
)
ERRORS = {
    "mean_absolute_error": agreement.mean_absolute_error,
    "root_mean_square_error": agreement.root_mean_square_error,
    "bias": agreement.bias,
    "median_relative_error": agreement.median_relative_error,
}


def error_rows(
    measured: np.ndarray, true: np.ndarray, region: np.ndarray, *, roi: str, metric: str, unit: str
) -> Iterator[Row]:
    """One row per error statistic over a region; none where the region is empty."""
    count = int(region.sum())
    for statistic, error in ERRORS.items() if count else ():
        value = error(measured[region], true[region])
        yield Row(roi, metric, statistic, value, "1" if statistic.endswith("relative_error") else unit, count)
    if count:
        ratio = float(np.mean(measured[region]) / np.mean(true[region]))
        yield Row(roi, metric, "ratio_of_means", ratio, "1", count)
        yield Row(roi, metric, "relative_error_of_mean", abs(ratio - 1), "1", count)


def _tissue_masks(files: Mapping[str, str], datatype: str, grid: Image, threshold: float) -> dict[str, np.ndarray]:
    inside = on_grid(load_image(files[f"true_{datatype}_mask"]), grid).data > 0.5
    inside &= load_image(files[f"{datatype}_mask"]).data > 0.5
    tissues = {tissue: on_grid(load_image(files[f"true_{datatype}_{tissue}"]), grid).data for tissue in TISSUES}
    return {tissue: inside & (fraction >= threshold) for tissue, fraction in tissues.items()}


def _uncorrected(files: Mapping[str, str], region: np.ndarray, settings: Mapping) -> dict[str, np.ndarray]:
    """FA and MD of the first phase-encoding direction without any correction."""
    series = load_image(files["merged"])
    gradients = read_gradients(files["merged_bval"], files["merged_bvec"], series.data.shape[3])
    direction = pd.read_csv(files["acquisition"], sep="\t")["phase_encoding"].to_numpy()
    volumes = (direction == direction[0]) & tensor_volumes(gradients, settings["max_b_value_s_per_mm2"])
    fit = fit_plain_tensor(series.data[..., volumes], region, gradients.take(volumes), file=files["merged"])
    return {"FA": fit.fa, "MD": fit.md}


def _diffusion_rows(files: Mapping[str, str], settings: Mapping) -> Iterator[Row]:
    grid = load_image(files["dwi_FA"])
    masks = _tissue_masks(files, "dwi", grid, settings["tissue_threshold"])
    uncorrected = _uncorrected(files, masks["WM"] | masks["GM"], settings)
    for metric, unit in TENSOR_UNITS.items():
        measured = load_image(files[f"dwi_{metric}"]).data
        true = on_grid(load_image(files[f"true_{metric}"]), grid).data
        for roi in ("WM", "GM"):
            yield from error_rows(measured, true, masks[roi], roi=roi, metric=metric, unit=unit)
            name = f"{metric}_uncorrected"
            yield from error_rows(uncorrected[metric], true, masks[roi], roi=roi, metric=name, unit=unit)
    yield from _direction_rows(files, grid, masks["WM"])
    yield from _field_rows(files, grid)


def principal_direction(tensor: np.ndarray) -> np.ndarray:
    """Unit eigenvector of the largest eigenvalue, (n, 3), of tensors (n, 6) in FSL's order."""
    matrices = np.zeros((len(tensor), 3, 3))
    for element, (row, column) in enumerate(zip(TENSOR_ROWS, TENSOR_COLUMNS, strict=True)):
        matrices[:, row, column] = matrices[:, column, row] = tensor[:, element]
    return np.linalg.eigh(matrices)[1][..., -1]


def axial_angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle between two axes without sign, (n,), 0 to 90 degrees, of unit vectors (n, 3)."""
    return np.degrees(np.arccos(np.clip(np.abs(np.sum(first * second, axis=1)), 0, 1)))


def _direction_rows(files: Mapping[str, str], grid: Image, white_matter: np.ndarray) -> Iterator[Row]:
    tensor, fa = load_image(files["true_tensor"]), load_image(files["true_FA"])
    region = white_matter & (on_grid(fa, grid).data > DIRECTION_MIN_FA)
    if not region.any():
        return
    true = principal_direction(on_grid(tensor, grid).data[region])
    angle = axial_angle_deg(load_image(files["dwi_direction"]).data[region], true)
    yield Row("WM", "direction", "median_axial_angle", float(np.median(angle)), "deg", int(region.sum()))


def _field_rows(files: Mapping[str, str], grid: Image) -> Iterator[Row]:
    readout_s = float(pd.read_csv(files["acquisition"], sep="\t")["total_readout_time_s"].iloc[0])
    brain = on_grid(load_image(files["true_dwi_mask"]), grid).data > 0.5
    measured, true = (on_grid(load_image(files[key]), grid).data[brain] for key in ("field", "true_field"))
    for metric, unit, factor in (("field", "Hz", 1.0), ("displacement", "voxel", readout_s)):
        for statistic in ("root_mean_square_error", "bias"):
            value = factor * ERRORS[statistic](measured, true)
            yield Row("brain", metric, statistic, value, unit, int(brain.sum()))
    size = factor * agreement.root_mean_square_error(true, np.zeros_like(true))
    yield Row("brain", "displacement_uncorrected", "root_mean_square_error", size, "voxel", int(brain.sum()))


def _perfusion_rows(files: Mapping[str, str], settings: Mapping) -> Iterator[Row]:
    grid = load_image(files["CBF"])
    masks = _tissue_masks(files, "perf", grid, settings["tissue_threshold"])
    for metric, truth, unit in PERFUSION:
        if metric not in files:
            continue
        measured, true = load_image(files[metric]).data, on_grid(load_image(files[truth]), grid).data
        for roi in ("GM", "WM"):
            yield from error_rows(measured, true, masks[roi], roi=roi, metric=metric, unit=unit)


def _anatomy_rows(files: Mapping[str, str]) -> Iterator[Row]:
    regions = {tissue: tissue for tissue in TISSUES} | {"brain": "mask"}
    for roi, key in regions.items():
        measured = load_image(files[f"anat_{key}"])
        true = on_grid(load_image(files[f"true_anat_{key}"]), measured).data > 0.5
        value = agreement.dice(measured.data > 0.5, true)
        yield Row(roi, "segmentation", "dice", value, "1", int(true.sum()))


def session_rows(files: Mapping[str, str], settings: Mapping) -> Iterator[Row]:
    """Rows of one session; modalities that it does not run give no rows.

    Args:
        files: paths keyed as in :func:`scan2map.evaluation.inputs.truth_files`.
        settings: ``tissue_threshold`` (true tissue fraction from which a voxel counts), ``max_b_value_s_per_mm2``
            (highest shell of the tensor fit).
    """
    if "anat_mask" in files:
        yield from _anatomy_rows(files)
    if "merged" in files:
        yield from _diffusion_rows(files, settings)
    if "CBF" in files:
        yield from _perfusion_rows(files, settings)


def compare_truth(files: Mapping[str, str], out, *, subject: str, session: str, settings: Mapping) -> None:
    """Write the comparison of one simulated session with its ground truth."""
    table = long_table(session_rows(files, settings), subject=subject, session=session)
    write_long_table(
        table,
        out,
        step="compare_truth",
        description=DESCRIPTION,
        sources=sorted(files.values()),
        settings=dict(settings),
    )
