"""Maps that a model predicted for a session: against their baselines, and against the truth where it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from scan2map.evaluation import agreement
from scan2map.evaluation.calibration import coverage
from scan2map.evaluation.grids import on_grid
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.maps import TISSUES
from scan2map.evaluation.truth import error_rows
from scan2map.images import Image, load_image
from scan2map.training.files import PredictedMap
from scan2map.training.predict import map_name, present_maps

DESCRIPTION = "Predicted maps of a session against conventional estimates of the same input, and against the truth"
# Bland and Altman 1986: 95 % of differences lie this many standard deviations around their mean.
LIMITS_OF_AGREEMENT = 1.96
# Nominal levels of the intervals whose coverage is counted, percent.
COVERAGE_LEVELS = (20, 40, 50, 60, 70, 80, 90, 95)


def agreement_rows(first: np.ndarray, second: np.ndarray, *, roi: str, metric: str, unit: str) -> Iterator[Row]:
    """Agreement of two estimates of the same voxels, neither of which is the truth.

    Args:
        first, second: values, shape (n,).
        roi, metric, unit: labels of the rows.
    """
    difference = first - second
    spread = LIMITS_OF_AGREEMENT * float(np.std(difference))
    mean = float(np.mean(difference))
    count = len(first)
    yield Row(roi, metric, "pearson_r", agreement.pearson_r(first, second), "1", count)
    yield Row(roi, metric, "mean_difference", mean, unit, count)
    yield Row(roi, metric, "limit_of_agreement_low", mean - spread, unit, count)
    yield Row(roi, metric, "limit_of_agreement_high", mean + spread, unit, count)


def _regions(files: Mapping[str, str], grid: Image, threshold: float) -> dict[str, np.ndarray]:
    inside = on_grid(load_image(files["mask"]), grid).data > 0.5
    return {tissue: inside & (on_grid(load_image(files[tissue]), grid).data >= threshold) for tissue in TISSUES}


def coverage_rows(error: np.ndarray, standard_deviation: np.ndarray, *, roi: str, metric: str) -> Iterator[Row]:
    """Share of voxels whose truth lies in the central normal interval of some levels around the prediction.

    Args:
        error: prediction − truth, shape (n,).
        standard_deviation: that the prediction claims, shape (n,).
        roi, metric: labels of the rows.
    """
    for level in COVERAGE_LEVELS:
        share = coverage(error, standard_deviation, level / 100)
        yield Row(roi, metric, f"coverage_{level}", share, "1", len(error))


def _mean_rows(values: np.ndarray, true: np.ndarray | None, **labels: str) -> Iterator[Row]:
    """Means of an estimate, and of the truth where it is known, over the voxels of a region."""
    if len(values):
        yield Row(statistic="mean", value=float(values.mean()), n_voxels=len(values), **labels)
    if len(values) and true is not None:
        yield Row(statistic="mean_truth", value=float(true.mean()), n_voxels=len(values), **labels)


def _calibration_rows(
    maps: tuple[PredictedMap, ...], images: Mapping[str, Image], regions: Mapping, truth: Mapping[str, Image]
) -> Iterator[Row]:
    for wanted in maps:
        if wanted.role == "uncertainty" and wanted.of in truth:
            error = images[wanted.of].data - truth[wanted.of].data
            for roi, region in regions.items():
                if region.any():
                    claimed = images[wanted.name].data[region]
                    yield from coverage_rows(error[region], claimed, roi=roi, metric=wanted.of)


def _rows(
    maps: tuple[PredictedMap, ...], images: Mapping[str, Image], regions: Mapping, truth: Mapping[str, Image]
) -> Iterator[Row]:
    scored = [wanted for wanted in maps if wanted.role in ("prediction", "baseline")]
    for wanted in scored:
        true = truth.get(wanted.name) or truth.get(wanted.of)
        for roi, region in regions.items():
            labels = {"roi": roi, "metric": wanted.name, "unit": wanted.unit}
            if true:
                yield from error_rows(images[wanted.name].data, true.data, region, **labels)
            yield from _mean_rows(images[wanted.name].data[region], true.data[region] if true else None, **labels)
    yield from _calibration_rows(maps, images, regions, truth)
    for wanted in scored:
        for roi, region in regions.items() if wanted.role == "baseline" else ():
            labels = {"roi": roi, "metric": f"{wanted.of}_against_{wanted.name}", "unit": wanted.unit}
            if region.sum() > 1:
                pair = (images[wanted.of].data[region], images[wanted.name].data[region])
                yield from agreement_rows(*pair, **labels)


def compare_prediction(
    folder, files: Mapping[str, str], out, *, system: str, subject: str, session: str, threshold: float
) -> None:
    """Write the long table of a session's predicted maps.

    Args:
        folder: the session's predicted maps.
        files: ``mask``, ``GM``, ``WM``, ``CSF`` of their grid; ``true_<map>`` where the truth is known.
        out: the table.
        system: name of the system.
        subject, session: labels.
        threshold: tissue fraction from which on a voxel belongs to a tissue.
    """
    maps = present_maps(system, folder, subject, session)
    paths = {wanted.name: Path(folder) / map_name(wanted, subject, session) for wanted in maps}
    images = {name: load_image(path) for name, path in paths.items()}
    grid = images[maps[0].name]
    truth = {name: on_grid(load_image(files[f"true_{name}"]), grid) for name in images if f"true_{name}" in files}
    rows = _rows(maps, images, _regions(files, grid, threshold), truth)
    table = long_table(rows, subject=subject, session=session)
    sources = [*paths.values(), *files.values()]
    settings = {"tissue_threshold": threshold}
    write_long_table(table, out, step="compare_prediction", description=DESCRIPTION, sources=sources, settings=settings)
