"""A session's field, tensor maps and corrected b = 0 images against FSL's results on the same scan."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from scan2map.derivative_tables import read_frame
from scan2map.errors import SettingError
from scan2map.evaluation import agreement
from scan2map.evaluation.grids import interior
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.maps import TENSOR_UNITS
from scan2map.evaluation.quality import opposed_rows
from scan2map.images import Image, load_image, require_same_grid
from scan2map.preprocess.dwi.phase_encoding import group_acquisitions
from scan2map.preprocess.dwi.resample import resample_volumes

LOGGER = logging.getLogger("scan2map")
DESCRIPTION = "Field, tensor maps and corrected b = 0 images against FSL's TOPUP, eddy and DTIFIT on the same scan"


def _load(files: Mapping[str, str], key: str, grid: Image) -> np.ndarray:
    image = load_image(files[key])
    require_same_grid(image, grid, names=(str(files[key]), "the mask of FSL's results"))
    return image.data


def field_rows(ours: np.ndarray, theirs: np.ndarray, inside: np.ndarray) -> Iterator[Row]:
    """Agreement of two off-resonance fields, Hz."""
    ours, theirs = ours[inside], theirs[inside]
    yield Row("brain", "field_fsl", "pearson_r", agreement.pearson_r(ours, theirs), "1", len(ours))
    yield Row("brain", "field_fsl", "bias", agreement.bias(ours, theirs), "Hz", len(ours))


def tensor_rows(ours: np.ndarray, theirs: np.ndarray, inside: np.ndarray, metric: str, roi: str) -> Iterator[Row]:
    """Agreement of two scalar maps of the tensor.

    Args:
        ours, theirs: (x, y, z).
        inside: where they are compared.
        metric: ``FA`` or ``MD``.
        roi: name of the region.
    """
    ours, theirs, name = ours[inside], theirs[inside], f"{metric}_fsl"
    difference, unit = float(np.median(np.abs(ours - theirs))), TENSOR_UNITS[metric]
    yield Row(roi, name, "pearson_r", agreement.pearson_r(ours, theirs), "1", len(ours))
    yield Row(roi, name, "median_absolute_difference", difference, unit, len(ours))
    relative = agreement.median_relative_error(ours, theirs)
    yield Row(roi, name, "median_relative_error", relative, "1", len(ours))


def corrected_by(field_hz: np.ndarray, pair: Image, acquisition) -> Image:
    """Opposed mean b = 0 images corrected by a given field with the rail's own interpolation.

    Args:
        field_hz: (x, y, z).
        pair: the uncorrected mean image of each acquisition, (x, y, z, n).
        acquisition: table of the b = 0 volumes.
    """
    table = read_frame(acquisition, ("phase_encoding", "total_readout_time_s"))
    groups = group_acquisitions(table["phase_encoding"], table["total_readout_time_s"])
    firsts = table.iloc[[int(np.flatnonzero(groups == group)[0]) for group in range(groups.max() + 1)]]
    volumes = resample_volumes(
        np.moveaxis(pair.data, 3, 0),
        pair.affine,
        field_hz=field_hz,
        phase_encoding=list(firsts["phase_encoding"]),
        readout_time_s=list(firsts["total_readout_time_s"]),
    )
    return Image(np.moveaxis(volumes.cpu().numpy(), 0, 3), pair.affine)


def b0_rows(files: Mapping[str, str], grid: Image, inside: np.ndarray) -> Iterator[Row]:
    """How alike the opposed b = 0 images are in ours, in FSL's own output, and in ours with FSL's field.

    TOPUP's output is smoother than one interpolation leaves it, which alone makes two images more alike: the pair that
    the rail's interpolation gives with TOPUP's field tells the fields apart from the interpolations.
    """
    pairs = {
        "ours": Image(_load(files, "b0", grid), grid.affine),
        "by_fsl": Image(_load(files, "fsl_b0", grid), grid.affine),
        "with_field_of_fsl": corrected_by(
            _load(files, "fsl_field", grid),
            Image(_load(files, "uncorrected_b0", grid), grid.affine),
            files["acquisition"],
        ),
    }
    for name, pair in pairs.items():
        yield from opposed_rows(pair, inside, f"fsl_mask_{name}")


def time_rows(benchmarks: Iterable, fsl_time_s: float | None) -> Iterator[Row]:
    """Wall time of the rail's steps from Snakemake's benchmark files, and its ratio to FSL's.

    Args:
        benchmarks: one table per step.
        fsl_time_s: what TOPUP and eddy took, or None where that is not known.

    Yields:
        Nothing where a benchmark file is missing: results that were copied here took no time here.
    """
    benchmarks = list(benchmarks)
    absent = [str(path) for path in benchmarks if not Path(path).is_file()]
    if absent:
        LOGGER.warning("the time of the steps is not known: %s is missing", ", ".join(absent))
        return
    total_s = float(sum(read_frame(path, ("s",))["s"].mean() for path in benchmarks))
    yield Row("image", "time_fsl", "value", total_s, "s", 0)
    if fsl_time_s is not None:
        yield Row("image", "time_fsl", "ratio", total_s / fsl_time_s, "1", 0)


def session_rows(files: Mapping[str, str], edge_voxels: int) -> Iterator[Row]:
    """Rows of one session.

    Args:
        files: paths keyed as in :mod:`scan2map.evaluation.dwi_inputs`.
        edge_voxels: the interior of the brain lies this far inside FSL's mask.

    Raises:
        DataError: an image is missing or lies on another grid.
    """
    mask = load_image(files["fsl_mask"])
    brain, ours = mask.data > 0.5, _load(files, "mask", mask) > 0.5
    inner = interior(brain, edge_voxels)
    yield Row("brain", "mask_fsl", "dice", agreement.dice(ours, brain), "1", int(brain.sum()))
    yield from field_rows(_load(files, "field", mask), _load(files, "fsl_field", mask), brain)
    for metric in TENSOR_UNITS:
        maps = _load(files, metric, mask), _load(files, f"fsl_{metric}", mask)
        # Neither map has a value beyond its own mask.
        yield from tensor_rows(*maps, brain & ours, metric, "brain")
        yield from tensor_rows(*maps, inner & ours, metric, "brain_interior")
    yield from b0_rows(files, mask, inner)


def compare_fsl(
    files: Mapping[str, str], benchmarks: Iterable, out, *, subject: str, session: str, settings: Mapping
) -> None:
    """Write the comparison of one session with FSL's results on the same scan.

    Args:
        files: paths keyed as in :mod:`scan2map.evaluation.dwi_inputs`.
        benchmarks: Snakemake's benchmark files of the timed steps.
        out: the long table.
        subject, session: labels.
        settings: ``edge_voxels``, ``fsl_time_s``.

    Raises:
        SettingError: the configuration names no results of FSL.
        DataError: an image is missing or lies on another grid.
    """
    if "fsl_mask" not in files:
        raise SettingError("There are no results of FSL to compare with", remedy="set validation.fsl_reference")
    rows = [*session_rows(files, settings["edge_voxels"]), *time_rows(benchmarks, settings["fsl_time_s"])]
    table = long_table(rows, subject=subject, session=session)
    write_long_table(table, out, step="compare_fsl", description=DESCRIPTION, sources=sorted(files.values()))
