"""The rail's tensor maps, all directions of phase encoding combined, beside the maps that the scanner exported.

The scanner's maps come from one direction, uncorrected: this says how much the correction changes, not how good it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from scan2map.bids.dicom_files import read_folder
from scan2map.bids.dicom_series import DicomSeries, group_series
from scan2map.evaluation.grids import interior, on_grid
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.scanner_maps import (
    KINDS,
    agreement_rows,
    convert_series,
    direction_label,
    maps_of_series,
    series_numbers,
)
from scan2map.images import Image, load_image

DESCRIPTION = "The corrected tensor maps against the maps that the scanner exported (uncorrected, one direction each)"


def exported_maps(record: Mapping, source) -> Iterator[tuple[str, str, DicomSeries]]:
    """Our metric, label of the direction (``_AP``) and DICOM series of every map that the scanner exported.

    Args:
        record: conversion record of the session.
        source: its DICOM folder.
    """
    numbers = series_numbers(record)
    derived = [series for series in group_series(read_folder(source)[0]) if series.is_derived]
    for (number, kind), series in maps_of_series(derived, numbers).items():
        yield KINDS[kind], direction_label(numbers[number]), series


def session_rows(maps: Mapping[str, Image], record: Mapping, source, inside: np.ndarray) -> Iterator[Row]:
    """Correlation of each corrected map with each exported one.

    Args:
        maps: our corrected maps by metric, on one grid.
        record, source: as in :func:`exported_maps`.
        inside: where they are compared.
    """
    for metric, direction, series in exported_maps(record, source):
        theirs = on_grid(convert_series(series), maps[metric]).data
        yield from agreement_rows(maps[metric].data, theirs, inside, metric=f"{metric}_corrected_scanner{direction}")


def compare_corrected_maps(fa, md, record, source, mask, out, *, subject: str, session: str, settings: Mapping) -> None:
    """Write the comparison of one session's corrected maps with the scanner's.

    Args:
        fa, md: corrected maps.
        record: conversion record of the session.
        source: its DICOM folder.
        mask: brain mask of its diffusion scan.
        out: the long table.
        subject, session: labels.
        settings: ``edge_voxels``.
    """
    maps = {"FA": load_image(fa), "MD": load_image(md)}
    inside = interior(load_image(mask).data > 0.5, settings["edge_voxels"])
    rows = list(session_rows(maps, json.loads(Path(record).read_text()), source, inside))
    table = long_table(rows, subject=subject, session=session)
    write_long_table(table, out, step="compare_corrected_maps", description=DESCRIPTION, sources=[str(fa), str(md)])
