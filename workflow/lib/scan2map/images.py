"""Reading and writing NIfTI images: float32 in memory, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from scan2map.errors import DataError


class Image(NamedTuple):
    """An image array and its voxel-to-world (RAS+, mm) affine."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def voxel_size_mm(self) -> np.ndarray:
        """Edge lengths of a voxel, mm, shape (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def load_image(path, dtype=np.float32, *, finite: bool = True) -> Image:
    """Load a NIfTI image.

    Args:
        path: the file.
        dtype: type of the returned array.
        finite: refuse NaN and infinite values.

    Raises:
        DataError: the file cannot be read, or holds non-finite values.
    """
    try:
        loaded = nib.load(path)
        data = np.asarray(loaded.dataobj, dtype=dtype)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise DataError(
            f"The image cannot be read ({error})", file=path, remedy="export or convert it again"
        ) from error
    if finite and np.issubdtype(data.dtype, np.floating) and not np.isfinite(data).all():
        count = int((~np.isfinite(data)).sum())
        raise DataError(
            "The image holds values that are not numbers",
            file=path,
            found=f"{count} NaN or infinite voxels",
            allowed="finite values only",
            remedy="export the series again, or exclude it in exclusions.tsv",
        )
    return Image(data, loaded.affine)


def save_image(path, data: np.ndarray, affine: np.ndarray, *, dtype=np.float32, repetition_time_s: float | None = None):
    """Write a NIfTI image under a temporary name, then rename it.

    The compressed bytes depend on the data alone (no file name or time in the gzip header).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.asarray(data, dtype=dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if repetition_time_s is not None and image.ndim == 4:
        image.header["pixdim"][4] = repetition_time_s
    partial = path.with_name(f".partial-{path.name}")
    nib.save(image, partial)
    os.replace(partial, path)


def require_same_grid(first: Image, second: Image, *, names: tuple[str, str], tolerance_mm: float = 1e-2):
    """Stop unless two images share shape and affine.

    Raises:
        DataError: shapes differ, or any corner of the grid differs by more than the tolerance.
    """
    same = first.data.shape[:3] == second.data.shape[:3] and np.allclose(first.affine, second.affine, atol=tolerance_mm)
    if not same:
        raise DataError(
            f"{names[0]} and {names[1]} are on different grids",
            found=f"{first.data.shape[:3]} and {second.data.shape[:3]}",
            allowed="the same shape and affine",
            remedy="resample one to the other first",
        )
