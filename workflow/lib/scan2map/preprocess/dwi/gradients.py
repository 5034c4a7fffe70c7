"""The b-table: reading, checking, frames, shells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scan2map.errors import DataError

# Rounding of scanner headers moves a unit vector by less than this; anything longer or shorter is a wrong table.
UNIT_TOLERANCE = 0.02
# Scanners report single-shell b-values that scatter by up to this share (or 50 s/mm2, whichever is more).
SHELL_SPREAD = 0.05
SHELL_SPREAD_S_PER_MM2 = 50.0


@dataclass(frozen=True)
class GradientTable:
    """b-values and b-vectors of a series.

    Attributes:
        b_values: (t,), s/mm2.
        b_vectors: (t, 3) in FSL's .bvec convention: voxel axes, the first one mirrored when the affine's
            determinant is positive; zero rows where no gradient is on.
        b0_threshold: volumes at or below this b-value count as b = 0, s/mm2.
    """

    b_values: np.ndarray
    b_vectors: np.ndarray
    b0_threshold: float = 50.0

    def __len__(self) -> int:
        return len(self.b_values)

    @property
    def is_b0(self) -> np.ndarray:
        """(t,) True where the volume has no diffusion weighting."""
        return self.b_values <= self.b0_threshold

    @property
    def shells(self) -> np.ndarray:
        """(t,) the b-value of each volume's shell (mean of its members), 0 for b = 0."""
        return shell_values(self.b_values, self.b0_threshold)

    def take(self, index) -> GradientTable:
        """The table of some volumes (index array or boolean mask)."""
        return GradientTable(self.b_values[index], self.b_vectors[index], self.b0_threshold)

    def world_directions(self, affine: np.ndarray) -> np.ndarray:
        """(t, 3) b-vectors along world RAS axes."""
        return self.b_vectors @ bvec_to_world(affine).T

    def rotated(self, rotations: np.ndarray, affine: np.ndarray) -> GradientTable:
        """The table in the frame of the head.

        A head turned by R in the scanner sees the fixed gradient g along R^T g.

        Args:
            rotations: (t, 3, 3) world rotation of each volume, reference to scanner.
            affine: voxel to world, 4x4.
        """
        head = np.einsum("tji,tj->ti", rotations, self.world_directions(affine))
        return GradientTable(self.b_values, head @ bvec_to_world(affine), self.b0_threshold)


def voxel_axes(affine: np.ndarray) -> np.ndarray:
    """3x3 orthogonal matrix whose columns are the voxel axes in the world; voxel sizes and rounding taken out."""
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return left @ right


def bvec_to_world(affine: np.ndarray) -> np.ndarray:
    """3x3 matrix from FSL's .bvec axes to world RAS axes.

    FSL measures b-vectors along the voxel axes of an image stored radiologically; when the determinant of the affine
    is positive the first axis is mirrored (FSL wiki, "What conventions do the bvecs use?").
    """
    axes = voxel_axes(affine)
    return axes * np.array([-1.0, 1.0, 1.0]) if np.linalg.det(axes) > 0 else axes


def shell_values(b_values: np.ndarray, b0_threshold: float) -> np.ndarray:
    """Group b-values into shells: sorted neighbours stay together while their gap is within the spread.

    Returns:
        (t,) mean b-value of each volume's shell, s/mm2; 0 at or below the threshold.
    """
    shells = np.zeros(len(b_values))
    order = [index for index in np.argsort(b_values, kind="stable") if b_values[index] > b0_threshold]
    if not order:
        return shells
    sorted_values = b_values[order]
    gaps = np.diff(sorted_values) > np.maximum(SHELL_SPREAD_S_PER_MM2, SHELL_SPREAD * sorted_values[1:])
    for members in np.split(np.array(order), np.flatnonzero(gaps) + 1):
        shells[members] = b_values[members].mean()
    return shells


def _read_numbers(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, dtype=float, ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The b-table cannot be read ({error})", file=path, remedy="convert the series again"
        ) from error


def read_gradients(bval, bvec, volumes: int, b0_threshold: float = 50.0) -> GradientTable:
    """Read and check FSL .bval and .bvec files.

    Args:
        bval, bvec: the two text files.
        volumes: number of volumes of the image that they belong to.
        b0_threshold: highest b-value that counts as b = 0, s/mm2.

    Raises:
        DataError: unreadable, wrong length, negative or non-finite values, or b-vectors that are not unit length.
    """
    b_values = _read_numbers(Path(bval)).ravel()
    b_vectors = _read_numbers(Path(bvec))
    if b_vectors.shape[0] == 3:
        b_vectors = b_vectors.T
    _check_length(b_values, b_vectors, volumes, bval)
    _check_values(b_values, b_vectors, bval)
    table = GradientTable(b_values, b_vectors, b0_threshold)
    return GradientTable(b_values, _unit_vectors(table, bvec), b0_threshold)


def _check_length(b_values, b_vectors, volumes: int, file) -> None:
    if b_vectors.ndim != 2 or b_vectors.shape != (len(b_values), 3) or len(b_values) != volumes:
        raise DataError(
            "The b-table does not fit its image",
            file=file,
            found=f"{len(b_values)} b-values, b-vectors {b_vectors.shape}, {volumes} volumes",
            allowed="one b-value and one b-vector per volume",
            remedy="convert the series again, or exclude it in exclusions.tsv",
        )


def _check_values(b_values, b_vectors, file) -> None:
    if not (np.isfinite(b_values).all() and np.isfinite(b_vectors).all() and (b_values >= 0).all()):
        raise DataError(
            "The b-table holds impossible values",
            file=file,
            found=f"b-values {np.nanmin(b_values):g} to {np.nanmax(b_values):g} s/mm2",
            allowed="finite numbers, b >= 0",
            remedy="convert the series again",
        )


def _unit_vectors(table: GradientTable, file) -> np.ndarray:
    """b-vectors normalised to unit length where a gradient is on; rounding is mended, a wrong table is refused."""
    length = np.linalg.norm(table.b_vectors, axis=1)
    weighted = ~table.is_b0
    wrong = weighted & (np.abs(length - 1) > UNIT_TOLERANCE)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            "The b-vectors are not of unit length",
            file=file,
            found=f"{int(wrong.sum())} vectors, the first in volume {first} with length {length[first]:.4f}",
            allowed=f"1 within {UNIT_TOLERANCE}",
            remedy="convert the series again; b-values must not be folded into the vectors",
        )
    return np.where(weighted[:, None], table.b_vectors / np.where(length, length, 1)[:, None], 0.0)


def require_tensor_directions(table: GradientTable, file) -> None:
    """Stop unless a tensor can be estimated from the table.

    Raises:
        DataError: no b = 0 volume, no weighted volume, or fewer than six independent directions.
    """
    weighted = table.b_vectors[~table.is_b0]
    products = weighted[:, [0, 0, 0, 1, 1, 2]] * weighted[:, [0, 1, 2, 1, 2, 2]]
    rank = np.linalg.matrix_rank(products, tol=1e-3 * max(len(products), 1) ** 0.5) if len(products) else 0
    if table.is_b0.all() or not table.is_b0.any() or rank < 6:
        raise DataError(
            "The gradient table cannot determine a diffusion tensor",
            file=file,
            found=f"{int(table.is_b0.sum())} volumes with b <= {table.b0_threshold:g} s/mm2, "
            f"{len(weighted)} weighted, {rank} independent directions",
            allowed="at least one b = 0 volume and six independent directions",
            remedy="check that the right series was taken as diffusion series, or exclude it in exclusions.tsv",
        )


def write_gradients(table: GradientTable, bval, bvec) -> None:
    """Write FSL .bval (one row) and .bvec (three rows), whole or not at all."""
    rows = {bval: table.b_values[None], bvec: table.b_vectors.T}
    for path, values in rows.items():
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".partial-{path.name}")
        np.savetxt(partial, values, fmt="%.8g")
        os.replace(partial, path)
