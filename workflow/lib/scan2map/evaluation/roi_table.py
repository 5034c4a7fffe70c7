"""The ROI table of a session: every map summarised over tissues and atlas regions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from scan2map.evaluation.grids import on_grid
from scan2map.evaluation.long_table import Row, gather_tables, long_table, write_long_table
from scan2map.evaluation.maps import MAPS, TISSUES
from scan2map.evaluation.roi_statistics import label_regions, region_rows, tissue_weights
from scan2map.images import Image, load_image, require_same_grid
from scan2map.preprocess.registration import apply_transform, load_transform
from scan2map.provenance import sidecar_path

DESCRIPTION = "Median, mean and standard deviation of every map in every tissue and atlas region"


def label_names(atlas_file, labels: np.ndarray) -> dict[int, str]:
    """Names of an atlas' labels from its sidecar (``Labels``: value to name); numbers where it gives none."""
    sidecar = sidecar_path(atlas_file)
    named = json.loads(sidecar.read_text()).get("Labels", {}) if Path(sidecar).is_file() else {}
    values = {int(value) for value in np.unique(labels) if value > 0} | {int(value) for value in named}
    return {value: named.get(str(value), str(value)) for value in values - {0}}


def _atlas_regions(files: Mapping[str, str], space: str, grid: Image) -> dict[str, np.ndarray]:
    regions = {}
    for key in sorted(key for key in files if key.startswith("atlas_")):
        atlas = load_image(files[key], dtype=np.int32)
        to_t1w = load_transform(files[f"{space}_to_T1w"])
        labels = apply_transform(atlas, grid, to_t1w.inverse(), "nearest").data
        regions |= label_regions(labels, label_names(files[key], atlas.data), prefix=key.removeprefix("atlas_"))
    return regions


def _regions(files: Mapping[str, str], space: str, grid: Image, settings: Mapping) -> dict[str, np.ndarray]:
    regions = {}
    for tissue in TISSUES:
        probability = on_grid(load_image(files[f"{space}_{tissue}"]), grid)
        regions[tissue] = tissue_weights(
            probability.data, threshold=settings["tissue_threshold"], partial_volume=settings["partial_volume"]
        )
    return regions | _atlas_regions(files, space, grid)


def session_rows(files: Mapping[str, str], settings: Mapping) -> Iterator[Row]:
    """Rows of one session; maps that the session does not have give no rows.

    Args:
        files: paths keyed as in :func:`scan2map.evaluation.inputs.roi_files`.
        settings: ``tissue_threshold`` (0 to 1) and ``partial_volume`` (bool).

    Raises:
        DataError: a map and its mask are on different grids, or a file cannot be read.
    """
    for quantity in MAPS:
        key = f"map_{quantity.metric}"
        if key not in files:
            continue
        values, mask = load_image(files[key]), load_image(files[f"{quantity.space}_mask"])
        require_same_grid(values, mask, names=(f"The {quantity.metric} map", "its brain mask"))
        regions = _regions(files, quantity.space, mask, settings)
        yield from region_rows(values.data, mask.data > 0.5, regions, metric=quantity.metric, unit=quantity.unit)


def tabulate_rois(files: Mapping[str, str], out, *, subject: str, session: str, settings: Mapping) -> None:
    """Write the ROI table of one session and its data dictionary."""
    table = long_table(session_rows(files, settings), subject=subject, session=session)
    write_long_table(
        table,
        out,
        step="tabulate_rois",
        description=DESCRIPTION,
        sources=sorted(files.values()),
        settings=dict(settings),
    )


def gather_rois(tables, out) -> None:
    """Write the ROI table of all sessions."""
    write_long_table(gather_tables(tables), out, step="gather_rois", description=f"{DESCRIPTION}, all sessions")
