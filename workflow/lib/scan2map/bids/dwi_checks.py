"""Is a diffusion series fit for use? Its b-table, shells, phase encoding and readout time, before any job reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scan2map.bids.layout import BidsFile

B0_LIMIT_S_PER_MM2 = 50.0  # b-values up to this count as not weighted (FSL, dipy and MRtrix use 50 or 100)
UNIT_TOLERANCE = 0.02  # b-vectors are stored with few digits
SHELL_TOLERANCE = 0.05
FEWEST_DIRECTIONS = 6  # a tensor has six elements
LONGEST_READOUT_S = 0.5  # beyond it the value is not in seconds


def _read_table(path: Path | None) -> np.ndarray | None:
    """The numbers of a b-table, shape (rows, volumes); ``None`` if it is missing or not a table of numbers."""
    try:
        return None if path is None else np.atleast_2d(np.loadtxt(path, dtype=float))
    except (OSError, ValueError):
        return None


def _value_problem(b_values: np.ndarray) -> str | None:
    if not np.isfinite(b_values).all() or (b_values < 0).any():
        return "the b-values are not all finite and >= 0 s/mm²"
    if not (b_values > B0_LIMIT_S_PER_MM2).any():
        return f"no volume is diffusion-weighted: all b-values are <= {B0_LIMIT_S_PER_MM2:g} s/mm²"
    if not (b_values <= B0_LIMIT_S_PER_MM2).any():
        return "no volume without diffusion weighting (b = 0)"
    return None


def _vector_problem(b_values: np.ndarray, vectors: np.ndarray) -> str | None:
    weighted = vectors[:, b_values > B0_LIMIT_S_PER_MM2]
    lengths = np.linalg.norm(weighted, axis=0)
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if bad.size:
        return f"{bad.size} b-vectors of weighted volumes are not unit vectors (first length: {lengths[bad[0]]:.3g})"
    cosines = np.abs(weighted.T @ weighted)
    distinct = sum(not (cosines[index, :index] > 1 - 1e-3).any() for index in range(len(cosines)))
    if distinct < FEWEST_DIRECTIONS:
        return f"only {distinct} different diffusion directions: a tensor needs {FEWEST_DIRECTIONS}"
    return None


def _shell_problem(b_values: np.ndarray, shells: list[float]) -> str | None:
    allowed = np.array(shells, float)
    distance = np.abs(b_values[:, None] - allowed)
    fits = distance <= np.maximum(SHELL_TOLERANCE * allowed, B0_LIMIT_S_PER_MM2)
    if not fits.any(axis=1).all():
        strange = b_values[~fits.any(axis=1)][0]
        return f"a b-value of {strange:g} s/mm² is not one of the study's shells {', '.join(f'{b:g}' for b in shells)}"
    if not fits.any(axis=0).all():
        return f"the shell b = {allowed[~fits.any(axis=0)][0]:g} s/mm² of the study is missing"
    return None


def table_problem(file: BidsFile, volumes: int, shells: list[float] | None = None) -> str | None:
    """What is wrong with the b-table of a diffusion series; ``None`` if it is fit for use.

    Args:
        file: the series, with its ``bval`` and ``bvec`` tables.
        volumes: volumes of the image.
        shells: b-values that the study expects (s/mm²), if it says so.
    """
    b_values, vectors = _read_table(file.tables.get("bval")), _read_table(file.tables.get("bvec"))
    if b_values is None or vectors is None:
        missing = "bval" if b_values is None else "bvec"
        return f"the {missing} file is missing or not a table of numbers"
    b_values = b_values.ravel()
    if b_values.size != volumes or vectors.shape != (3, volumes):
        found = f"{b_values.size} b-values and {vectors.shape[1]} b-vectors of {vectors.shape[0]} elements"
        return f"the b-table does not fit the image: {found} for {volumes} volumes"
    problem = _value_problem(b_values) or _vector_problem(b_values, vectors)
    return problem or (_shell_problem(b_values, shells) if shells else None)


def encoding_problem(file: BidsFile) -> str | None:
    """What is wrong with the phase encoding of an echo-planar series; ``None`` if it is known and plausible."""
    direction = file.metadata.get("PhaseEncodingDirection")
    if direction not in ("i", "i-", "j", "j-", "k", "k-"):
        return f"the sidecar gives no PhaseEncodingDirection (found: {direction})"
    readout = file.metadata.get("TotalReadoutTime")
    if not isinstance(readout, int | float) or not 0 < readout < LONGEST_READOUT_S:
        return (
            f"TotalReadoutTime is not plausible (found: {readout}, allowed: above 0 and below {LONGEST_READOUT_S:g} s)"
        )
    return None


def has_opposed_encoding(files: list[BidsFile]) -> bool:
    """Whether two of the series have opposite phase encoding directions."""
    directions = {str(file.metadata.get("PhaseEncodingDirection")) for file in files}
    return any(f"{direction}-" in directions for direction in directions)
