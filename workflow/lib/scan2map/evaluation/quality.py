"""The quality table of a session: what its steps say about themselves, and how alike opposed b = 0 images are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np

from scan2map.evaluation.agreement import pearson_r
from scan2map.evaluation.grids import interior
from scan2map.evaluation.inputs import STAGES
from scan2map.evaluation.long_table import Row, long_table, read_table, write_long_table
from scan2map.images import Image, load_image, require_same_grid
from scan2map.provenance import sidecar_path

DESCRIPTION = "Quality figures of the steps, and agreement of opposed b = 0 images before and after correction"


def relative_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference over the mean of both images; a ratio."""
    return float(np.mean(np.abs(first - second)) / np.mean((first + second) / 2))


def opposed_rows(pair: Image, inside: np.ndarray, stage: str) -> Iterator[Row]:
    """Correlation and relative difference of the first two volumes; no rows where there is only one.

    Args:
        pair: (x, y, z, n), one mean b = 0 image per phase-encoding direction.
        inside: (x, y, z), where they are compared.
        stage: ``uncorrected`` or ``corrected``.
    """
    if pair.data.ndim != 4 or pair.data.shape[3] < 2:
        return
    first, second = pair.data[inside][:, 0], pair.data[inside][:, 1]
    metric, count = f"opposed_b0_{stage}", int(inside.sum())
    yield Row("brain_interior", metric, "pearson_r", pearson_r(first, second), "1", count)
    yield Row("brain_interior", metric, "relative_difference", relative_difference(first, second), "1", count)


def correction_rows(files: Mapping[str, str], edge_voxels: int) -> Iterator[Row]:
    """Agreement of the opposed b = 0 images of one session before and after correction.

    Args:
        files: ``uncorrected``, ``corrected`` and ``dwi_mask``.
        edge_voxels: how far inside the mask they are compared.
    """
    mask = load_image(files["dwi_mask"])
    inside = interior(mask.data > 0.5, edge_voxels)
    for stage in STAGES:
        pair = load_image(files[stage])
        require_same_grid(pair, mask, names=(f"The {stage} b = 0 images", "the brain mask"))
        yield from opposed_rows(pair, inside, stage)


def quality_rows(modality: str, path) -> tuple[list[Row], dict[str, dict]]:
    """Rows of a one-row table of quality figures, and the words of its data dictionary by metric.

    Args:
        modality: prefix of the metrics.
        path: the ``desc-qc_metrics.tsv``.
    """
    sidecar = sidecar_path(path)
    dictionary = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
    rows, words = [], {}
    for column, value in read_table(path).iloc[0].items():
        if isinstance(value, (str, bool)):
            continue
        entry = dictionary.get(column)
        entry = entry if isinstance(entry, dict) else {}
        metric = f"{modality}_{column}"
        words[metric] = {"Description": entry.get("Description", column.replace("_", " "))}
        words[metric]["TrustedRange"] = entry.get("TrustedRange", "")
        rows.append(Row("image", metric, "value", float(value), entry.get("Units", "1"), np.nan, np.nan))
    return rows, words


def tabulate_quality(files: Mapping[str, str], out, *, subject: str, session: str, settings: Mapping) -> None:
    """Write the quality table of one session; its sidecar explains each metric under ``Metrics``.

    Args:
        files: paths keyed as in :func:`scan2map.evaluation.inputs.quality_files`.
        out: the long table.
        subject: label.
        session: label.
        settings: ``edge_voxels``.
    """
    rows, words = [], {}
    for modality in (key.removeprefix("qc_") for key in files if key.startswith("qc_")):
        more, meanings = quality_rows(modality, files[f"qc_{modality}"])
        rows, words = rows + more, words | meanings
    if "dwi_mask" in files:
        rows += correction_rows(files, settings["edge_voxels"])
    sources = {"sources": sorted(files.values()), "settings": dict(settings)}
    table = long_table(rows, subject=subject, session=session)
    write_long_table(table, out, step="tabulate_quality", description=DESCRIPTION, Metrics=words, **sources)
