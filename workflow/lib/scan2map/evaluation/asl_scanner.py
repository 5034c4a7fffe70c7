"""Our mean difference of control and label beside the perfusion-weighted image of the scanner, from one series."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from scan2map.bids.dicom_files import read_folder
from scan2map.bids.dicom_series import DicomSeries, group_series
from scan2map.errors import DataError
from scan2map.evaluation.agreement import pearson_r
from scan2map.evaluation.grids import interior, on_grid
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.evaluation.scanner_maps import convert_series
from scan2map.images import Image, load_image

DESCRIPTION = "Mean control minus label against the perfusion-weighted image that the scanner exported"
# Words of ImageType by which scanners mark the difference of control and label.
KINDS = ("SUBTRACTION", "PERFUSION_WEIGHTED")


def exported_difference(derived: Iterable[DicomSeries], number: int) -> DicomSeries:
    """The perfusion-weighted series that a scanner computed from an ASL series.

    Args:
        derived: derived series of the session.
        number: of the ASL series; scanners number derived series after it.

    Raises:
        DataError: there is none.
    """
    found = [one for one in derived if one.number > number and set(KINDS) & set(one.image_type)]
    if not found:
        raise DataError(
            "The scanner exported no perfusion-weighted image", found="no derived series of this kind",
            allowed=" or ".join(KINDS), remedy="set validation.scanner_perfusion to false, or export it too",
        )  # fmt: skip
    return min(found, key=lambda one: one.number)


def series_number(record: Mapping) -> int:
    """Number of the ASL series that was used.

    Raises:
        DataError: the session has none.
    """
    numbers = [row["number"] for row in record["series"] if row["used"] and row["suffix"] == "asl"]
    if not numbers:
        raise DataError("The session has no ASL series", remedy="set validation.scanner_perfusion to false")
    return numbers[0]


def agreement_rows(ours: Image, theirs: Image, mask: np.ndarray, edge_voxels: int) -> Iterator[Row]:
    """Correlation in the brain and off its edge.

    Args:
        ours: mean control minus label, (x, y, z).
        theirs: the scanner's, any grid.
        mask: brain on our grid.
        edge_voxels: how far inside the mask the second figure is taken.
    """
    moved = on_grid(theirs, ours).data
    for roi, inside in (("brain", mask), ("brain_interior", interior(mask, edge_voxels))):
        value = pearson_r(ours.data[inside], moved[inside])
        yield Row(roi, "deltam_scanner", "pearson_r", value, "1", int(inside.sum()))


def compare_scanner_perfusion(
    deltam, mask, record, source, out, *, subject: str, session: str, settings: Mapping
) -> None:
    """Write the comparison of one session with the scanner's perfusion-weighted image.

    Args:
        deltam: our mean difference image.
        mask: brain on its grid.
        record: conversion record of the session.
        source: its DICOM folder.
        out: the long table.
        subject, session: labels.
        settings: ``edge_voxels``.
    """
    derived = [series for series in group_series(read_folder(source)[0]) if series.is_derived]
    found = exported_difference(derived, series_number(json.loads(Path(record).read_text())))
    rows = agreement_rows(
        load_image(deltam), convert_series(found), load_image(mask).data > 0.5, settings["edge_voxels"]
    )
    table = long_table(rows, subject=subject, session=session)
    sources = [str(deltam), f"DICOM series {found.number}"]
    write_long_table(table, out, step="compare_scanner_perfusion", description=DESCRIPTION, sources=sources)
