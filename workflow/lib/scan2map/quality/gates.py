"""Plausibility gates: a map that cannot be true stops its session, loudly."""

from __future__ import annotations

import numpy as np

from scan2map.errors import DataError


def check_map(
    values: np.ndarray,
    mask: np.ndarray,
    *,
    name: str,
    unit: str,
    median_range: tuple[float, float],
    file=None,
    remedy: str = "look at the input series and exclude it in exclusions.tsv if it is bad",
) -> float:
    """Stop unless a map is finite, not constant, and its median inside the mask is physically possible.

    Args:
        values: the map, shape (x, y, z).
        mask: where it is judged, same shape.
        name: what it is, for the message.
        unit: its unit, for the message.
        median_range: lowest and highest possible median inside the mask, in that unit.
        file: the file it will be, for the message.
        remedy: what the user can do.

    Returns:
        The median inside the mask.

    Raises:
        DataError: the mask is empty, or the map is not finite, constant, or out of range.
    """
    inside = np.asarray(values)[np.asarray(mask, dtype=bool)]
    if inside.size == 0:
        raise DataError(f"The mask for {name} is empty", file=file, remedy="check the brain mask")
    bad = int((~np.isfinite(inside)).sum())
    if bad:
        raise DataError(f"{name} holds values that are not numbers", file=file, found=f"{bad} voxels", remedy=remedy)
    if np.ptp(inside) == 0:
        raise DataError(f"{name} is constant", file=file, found=f"{inside[0]:g} {unit} everywhere", remedy=remedy)
    median = float(np.median(inside))
    low, high = median_range
    if not low <= median <= high:
        raise DataError(
            f"{name} is not plausible",
            file=file,
            found=f"median {median:g} {unit}",
            allowed=f"{low:g} to {high:g} {unit}",
            remedy=remedy,
        )
    return median
