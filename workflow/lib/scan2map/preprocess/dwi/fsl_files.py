"""What FSL's diffusion programs read: images stored its way, acquisition parameters, indices, slice order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scan2map.errors import DataError
from scan2map.images import Image, save_image
from scan2map.preprocess.dwi.phase_encoding import READOUT_TOLERANCE, check_readout_time, phase_axis, tells_field
from scan2map.tools.fsl import TOPUP_CONFIGURATIONS

SIMULTANEOUS_S = 1e-3  # slices closer in time than this were excited together; dcm2niix rounds times to less


def is_radiological(affine: np.ndarray) -> bool:
    """Whether the first voxel axis runs as FSL stores images: left-handed voxel axes."""
    return bool(np.linalg.det(affine[:3, :3]) < 0)


def to_radiological(image: Image) -> Image:
    """The image with its first voxel axis reversed where needed, every voxel in its place in the world.

    FSL reads b-vectors, phase-encoding vectors and millimetres along the axes of a radiologically stored image; for
    other images it mirrors x on reading. Images stored this way leave no room for doubt.
    """
    if is_radiological(image.affine):
        return image
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = image.data.shape[0] - 1
    return Image(image.data[::-1], image.affine @ mirror)


def from_radiological(data: np.ndarray, original_affine: np.ndarray) -> np.ndarray:
    """Undo :func:`to_radiological` for data on the grid of an image with this affine."""
    return data if is_radiological(original_affine) else data[::-1]


def phase_encoding_vector(direction: str, affine: np.ndarray) -> np.ndarray:
    """FSL's phase-encoding vector of a BIDS direction, for the radiologically stored image.

    Raises:
        DataError: the direction is unknown, or along the slice axis, which FSL cannot correct.
    """
    axis, sign = phase_axis(direction)
    if axis == 2:
        raise DataError("FSL cannot correct distortion along the slice axis", found=direction, allowed="i, i-, j, j-")
    mirrored = axis == 0 and not is_radiological(affine)
    return np.eye(3)[axis] * (-sign if mirrored else sign)


def acquisition_parameters(table: pd.DataFrame, affine: np.ndarray) -> np.ndarray:
    """One row per volume: phase-encoding vector and total readout time, (t, 4).

    Args:
        table: columns ``phase_encoding`` (BIDS) and ``total_readout_time_s``.
        affine: voxel to world of the images.

    Raises:
        DataError: a direction or a time that cannot be used.
    """
    times = [check_readout_time(value) for value in table.total_readout_time_s]
    vectors = [phase_encoding_vector(direction, affine) for direction in table.phase_encoding]
    return np.column_stack([np.array(vectors), times])


def unique_rows(parameters: np.ndarray) -> np.ndarray:
    """The different acquisitions in order of appearance."""
    rows = parameters[:1]
    for row in parameters[1:, None]:
        rows = rows if _alike(row, rows).any() else np.concatenate([rows, row])
    return rows


def _alike(parameters: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(volumes, rows) True where a volume has the direction of a row and, but for rounding, its readout time."""
    same_way = (parameters[:, None, :3] == rows[:, :3]).all(-1)
    return same_way & (np.abs(parameters[:, None, 3] - rows[:, 3]) <= READOUT_TOLERANCE * rows[:, 3])


def row_indices(parameters: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each volume the number, from 1, of the first row with its phase encoding and readout time.

    Raises:
        DataError: a volume was acquired unlike every row.
    """
    same = _alike(parameters, rows)
    if not same.any(1).all():
        volume = int(np.flatnonzero(~same.any(1))[0])
        raise DataError(
            "A diffusion volume was encoded unlike every b = 0 volume that TOPUP saw",
            found=f"volume {volume} with {parameters[volume].tolist()}",
            allowed=f"one of {rows.tolist()}",
            remedy="add a b = 0 volume with its phase encoding and readout time",
        )
    return same.argmax(1) + 1


def choose_b0(parameters: np.ndarray, most: int) -> np.ndarray:
    """Numbers of the first ``most`` volumes of each acquisition, in order."""
    groups = row_indices(parameters, unique_rows(parameters))
    return np.sort(np.concatenate([np.flatnonzero(groups == group)[:most] for group in np.unique(groups)]))


def require_opposed(parameters: np.ndarray, file) -> None:
    """Stop unless displacement differs between volumes: only then can TOPUP find a field.

    Raises:
        DataError: all volumes are displaced alike (one direction, one readout time).
    """
    if not tells_field(parameters[:, :3] * parameters[:, 3:]):
        raise DataError(
            "TOPUP needs b = 0 volumes with different phase encoding",
            file=file,
            found=f"{len(parameters)} volumes, all with {parameters[0].tolist()}",
            allowed="for example j and j-",
            remedy="acquire a reversed b = 0 image; without one the session is processed without this correction",
        )


def topup_configuration(shape: Sequence[int], setting: str) -> str:
    """The TOPUP schedule for a matrix size.

    FSL's schedules subsample by 4, 2 or 1, and every matrix size has to divide by that (FSL documentation, "TOPUP
    configuration files"); slices are never cut off to make it fit.

    Args:
        shape: matrix size (x, y, z).
        setting: ``fsl.topup.configuration``.

    Raises:
        DataError: the schedule that the setting names does not fit.
    """
    fitting = [
        name for name, factor in TOPUP_CONFIGURATIONS.items() if all(length % factor == 0 for length in shape[:3])
    ]
    if setting == "auto":
        return fitting[0]
    if setting not in fitting:
        raise DataError(
            f"The TOPUP schedule {setting} does not fit the images",
            found=f"matrix size {tuple(shape[:3])}",
            allowed=", ".join(fitting),
            remedy="set fsl.topup.configuration to auto",
        )
    return setting


def slice_groups(slice_times_s: Sequence[float], slices: int, file) -> list[list[int]]:
    """Slices that were excited together, in the order of excitation (eddy's slspec).

    Raises:
        DataError: no slice times, one per slice is missing, or the groups differ in size.
    """
    times = np.asarray(slice_times_s, dtype=float)
    remedy = "correct SliceTiming in the sidecar, or set fsl.eddy.slice_to_volume_order to 0"
    if times.shape != (slices,) or not np.isfinite(times).all():
        raise DataError("SliceTiming does not fit the series", file=file, found=f"{times.size} times",
                        allowed=f"{slices} times", remedy=remedy)  # fmt: skip
    order = np.argsort(times, kind="stable")
    breaks = np.flatnonzero(np.diff(times[order]) > SIMULTANEOUS_S) + 1
    groups = [sorted(group.tolist()) for group in np.split(order, breaks)]
    sizes = [len(group) for group in groups]
    if len(set(sizes)) > 1:
        raise DataError("SliceTiming gives groups of different size", file=file,
                        found=sizes, allowed="one multiband factor", remedy=remedy)  # fmt: skip
    return groups


def read_slice_groups(sidecars: Sequence, slices: int) -> list[list[int]]:
    """Slice groups of the diffusion runs, from the ``SliceTiming`` of their sidecars.

    Raises:
        DataError: no sidecars, unreadable or missing times, or runs that differ.
    """
    if not sidecars:
        raise DataError("Slice-to-volume correction needs the sidecars of the diffusion runs", allowed="SliceTiming")
    found = [
        slice_groups(json.loads(Path(path).read_text()).get("SliceTiming") or [], slices, path) for path in sidecars
    ]
    if any(groups != found[0] for groups in found):
        raise DataError("The diffusion runs differ in their slice order", file=sidecars[0],
                        remedy="set fsl.eddy.slice_to_volume_order to 0")  # fmt: skip
    return found[0]


def write_rows(path, rows, fmt: str = "%.8g") -> None:
    """Write a plain text table, one row per line."""
    np.savetxt(path, np.atleast_2d(rows), fmt=fmt)


def write_image(path, image: Image, dtype=np.float32) -> None:
    """Write an image the way FSL stores it."""
    stored = to_radiological(image)
    save_image(path, stored.data, stored.affine, dtype=dtype)
