"""How alike the b = 0 images of opposed phase encoding are, before and after correction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from scan2map.errors import DataError
from scan2map.evaluation.agreement import pearson_r
from scan2map.evaluation.grids import interior
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.images import Image, load_image, require_same_grid

DESCRIPTION = "Agreement of the b = 0 images of opposed phase encoding, before and after susceptibility correction"
STAGES = ("uncorrected", "corrected")


def opposed_files(derivative, runs) -> dict[str, str]:
    """The files that the comparison reads; none if the session has no diffusion series."""
    if not runs("dwi"):
        return {}
    pairs = {stage: derivative("fmap", "epi", desc=stage) for stage in STAGES}
    return pairs | {"mask": derivative("dwi", "mask", desc="brain")}


def relative_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference over the mean of both images; a ratio."""
    return float(np.mean(np.abs(first - second)) / np.mean((first + second) / 2))


def opposed_rows(pair: Image, inside: np.ndarray, stage: str) -> Iterator[Row]:
    """Correlation and relative difference of the first two volumes.

    Args:
        pair: (x, y, z, n), one mean b = 0 image per phase-encoding direction.
        inside: (x, y, z), where they are compared.
        stage: ``uncorrected`` or ``corrected``.

    Raises:
        DataError: fewer than two volumes, or an empty mask.
    """
    if pair.data.ndim != 4 or pair.data.shape[3] < 2:
        raise DataError("A comparison needs two phase-encoding directions", found=f"shape {pair.data.shape}")
    first, second = pair.data[inside][:, 0], pair.data[inside][:, 1]
    metric, count = f"opposed_b0_{stage}", int(inside.sum())
    yield Row("brain_interior", metric, "pearson_r", pearson_r(first, second), "1", count)
    yield Row("brain_interior", metric, "relative_difference", relative_difference(first, second), "1", count)


def session_rows(files: Mapping[str, str], settings: Mapping) -> Iterator[Row]:
    """Rows of one session, before and after; none without files."""
    if not files:
        return
    mask = load_image(files["mask"])
    inside = interior(mask.data > 0.5, settings["edge_voxels"])
    for stage in STAGES:
        pair = load_image(files[stage])
        require_same_grid(pair, mask, names=(f"The {stage} b = 0 images", "the brain mask"))
        yield from opposed_rows(pair, inside, stage)


def compare_opposed(files: Mapping[str, str], out, *, subject: str, session: str, settings: Mapping) -> None:
    """Write the comparison of one session."""
    table = long_table(session_rows(files, settings), subject=subject, session=session)
    write_long_table(table, out, step="compare_opposed", description=DESCRIPTION, sources=sorted(files.values()))
