"""The scanner's own FA and ADC maps beside a plain tensor of the series that they came from.

Both are computed from the same uncorrected images: where they agree, the conversion kept the b-table.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from scan2map.bids.dicom_files import read_folder
from scan2map.bids.dicom_series import DicomSeries, group_series
from scan2map.errors import DataError
from scan2map.evaluation.agreement import pearson_r
from scan2map.evaluation.grids import interior, on_grid, same_grid
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.plain_tensor import fit_plain_tensor
from scan2map.images import Image, load_image
from scan2map.preprocess.dwi.gradients import read_gradients
from scan2map.tools.commands import find_program, run_program

LOGGER = logging.getLogger("scan2map")
DESCRIPTION = "A plain tensor of each uncorrected diffusion series against the maps that the scanner exported"
# ImageType value of the scanner's map -> our metric; units of both differ by a factor, which r does not see.
KINDS = {"FA": "FA", "ADC": "MD"}
# The scanner fits without weights; with the same estimator only the b-table can make a difference (on a Siemens XA30
# scan the median difference of FA is 0.001, against 0.010 with weights).
METHOD = "OLS"


def series_numbers(record: Mapping) -> dict[int, str]:
    """Number of each diffusion series and its BIDS file, from the conversion record of a session."""
    rows = [row for row in record["series"] if row["used"] and row["suffix"] == "dwi"]
    return {row["number"]: file for row in rows for file in row["files"] if file.endswith(".nii.gz")}


def maps_of_series(derived: Iterable[DicomSeries], numbers: Iterable[int]) -> dict[tuple[int, str], DicomSeries]:
    """The exported map of each kind that belongs to each diffusion series.

    Scanners number derived series right after the series that they come from.

    Args:
        derived: derived series of a session.
        numbers: numbers of the diffusion series.

    Returns:
        Keyed by (number of the diffusion series, ``FA`` or ``ADC``).
    """
    numbers, found = sorted(numbers), {}
    for series in derived:
        before = [number for number in numbers if number < series.number]
        kind = next((kind for kind in KINDS if kind in series.image_type), None)
        if before and kind:
            found.setdefault((before[-1], kind), series)
    return found


def convert_series(series: DicomSeries) -> Image:
    """Convert one DICOM series to an image by dcm2niix.

    Raises:
        DataError: the series gives no image, or several.
        ToolError: dcm2niix is missing or failed.
    """
    with TemporaryDirectory() as folder:
        source, out = Path(folder, "dicom"), Path(folder, "nifti")
        source.mkdir()
        out.mkdir()
        for place, file in enumerate(series.files):
            (source / f"{place:05}.dcm").symlink_to(Path(file.path).resolve())
        program = find_program("dcm2niix", "dcm2niix")
        run_program([program, "-b", "n", "-z", "n", "-f", "map", "-o", str(out), str(source)])
        images = sorted(out.glob("*.nii"))
        if len(images) != 1:
            raise DataError(f"Series {series.number} is not one image", found=f"{len(images)} images")
        return load_image(images[0])


def agreement_rows(ours: np.ndarray, theirs: np.ndarray, inside: np.ndarray, *, metric: str) -> Iterator[Row]:
    """Correlation where the scanner's map has a value."""
    inside = inside & (theirs > 0)
    yield Row("brain_interior", metric, "pearson_r", pearson_r(ours[inside], theirs[inside]), "1", int(inside.sum()))


def direction_label(file: str) -> str:
    """Suffix of a metric that names the phase encoding of a BIDS file, such as ``_AP``; empty where it has none."""
    label = re.search(r"_dir-([A-Za-z0-9]+)_", file)
    return f"_{label[1]}" if label else ""


def series_rows(dwi, maps: Mapping[str, DicomSeries], brain: Image, edge_voxels: int) -> Iterator[Row]:
    """Rows of one diffusion series.

    Args:
        dwi: the BIDS file, with its b-table beside it.
        maps: exported maps by ``FA``, ``ADC``.
        brain: brain mask of the session's diffusion scan.
        edge_voxels: how far inside the brain mask they are compared.

    Raises:
        DataError: a map lies on another grid than its series.
    """
    series = load_image(dwi)
    stem = str(dwi).removesuffix(".nii.gz")
    gradients = read_gradients(f"{stem}.bval", f"{stem}.bvec", series.data.shape[3])
    inside = interior(on_grid(brain, series, interpolation="nearest").data > 0.5, edge_voxels)
    fit = fit_plain_tensor(series.data, inside, gradients, method=METHOD, file=dwi)
    for kind, ours in (("FA", fit.fa), ("ADC", fit.md)):
        if kind not in maps:
            continue
        theirs = convert_series(maps[kind])
        if not same_grid(theirs, series, tolerance_mm=0.1):
            LOGGER.warning("series %d is resampled to the grid of its source", maps[kind].number)
        metric = f"{KINDS[kind]}_scanner{direction_label(str(dwi))}"
        yield from agreement_rows(ours, on_grid(theirs, series).data, inside, metric=metric)


def session_rows(files: Iterable[str], record: Mapping, source, brain: Image, edge_voxels: int) -> Iterator[Row]:
    """Rows of every diffusion series of a session whose maps the scanner exported.

    Raises:
        DataError: the scanner exported none.
    """
    numbers = {number: _existing(file, files) for number, file in series_numbers(record).items()}
    derived = [series for series in group_series(read_folder(source)[0]) if series.is_derived]
    found = maps_of_series(derived, numbers)
    if not found:
        raise DataError(
            "The scanner exported no FA or ADC map",
            found=f"{len(derived)} derived series",
            remedy="set validation.scanner_maps to false, or export the derived series too",
        )
    for number, file in numbers.items():
        maps = {kind: series for (owner, kind), series in found.items() if owner == number}
        yield from series_rows(file, maps, brain, edge_voxels) if maps else ()


def _existing(file: str, files: Iterable[str]) -> str:
    """The file of the data set that a record names by its path below the root."""
    return next(path for path in files if path.endswith(file))


def compare_scanner_maps(
    files: Iterable[str], record, source, mask, out, *, subject: str, session: str, settings: Mapping
) -> None:
    """Write the comparison of one session with the scanner's own maps.

    Args:
        files: BIDS files of its diffusion series.
        record: conversion record of the session.
        source: its DICOM folder.
        mask: brain mask of its diffusion scan.
        out: the long table.
        subject: label.
        session: label.
        settings: ``edge_voxels``.
    """
    content = json.loads(Path(record).read_text())
    rows = session_rows(list(files), content, source, load_image(mask), settings["edge_voxels"])
    table = long_table(rows, subject=subject, session=session)
    write_long_table(table, out, step="compare_scanner_maps", description=DESCRIPTION, sources=sorted(files))
