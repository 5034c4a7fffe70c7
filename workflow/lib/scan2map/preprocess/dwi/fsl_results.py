"""What FSL's diffusion programs write, in this project's conventions: motion, eddy terms, outliers, tensors."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from scan2map.errors import ToolError
from scan2map.images import Image, load_image
from scan2map.preprocess.dwi.eddy import TERMS
from scan2map.preprocess.dwi.fsl_files import from_radiological, is_radiological
from scan2map.preprocess.dwi.gradients import bvec_to_world
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_parameters
from scan2map.preprocess.dwi.tensor import COLUMNS, FULL, ROWS, TensorMaps

EDDY_TERMS = {"linear": (*TERMS[:3], TERMS[-1]), "quadratic": TERMS}  # order of eddy's columns after the motion


def load_result(path, original: Image) -> np.ndarray:
    """Data of an FSL output on the voxel grid of the original image.

    Raises:
        ToolError: the output is on another grid.
        DataError: it cannot be read or holds values that are not numbers.
    """
    data = load_image(path).data
    if data.shape[:3] != original.data.shape[:3]:
        raise ToolError(
            "FSL wrote an image on another grid", found=f"{Path(path).name} {data.shape}", allowed=original.data.shape
        )
    return from_radiological(data, original.affine)


def fsl_grid(image: Image):
    """The image's grid for fslpy, which knows FSL's millimetre axes (x mirrored for right-handed voxel axes)."""
    from fsl.data.image import Nifti

    header = nib.Nifti1Header()
    header.set_data_shape(image.data.shape[:3])
    header.set_zooms(image.voxel_size_mm)
    header.set_sform(image.affine, code=1)
    header.set_qform(image.affine, code=1)
    return Nifti(header)


def _eddy_matrix(parameters: np.ndarray, image: Image) -> np.ndarray:
    """eddy's six parameters as a matrix, reference to volume, in FSL millimetres.

    Translations (mm), then angles (rad) about x, y, z through the centre of the grid. FSL's elementary rotations
    turn the other way round than fslpy's, and their product is the inverse of fslpy's. (That eddy's b-vectors are
    rotated by exactly this inverse is checked against a run of real eddy.)
    """
    from fsl.transform import affine

    centre = (np.array(image.data.shape[:3]) - 1) / 2 * image.voxel_size_mm
    rotation = affine.axisAnglesToRotMat(*parameters[3:6]).T
    return affine.compose([1, 1, 1], parameters[:3], rotation, origin=centre)


def eddy_matrices(parameters: np.ndarray, image: Image) -> np.ndarray:
    """Rigid motion of each volume as world matrices, reference to volume, (t, 4, 4).

    Args:
        parameters: (t, 6 or more), rows of ``eddy_parameters``.
        image: an image on the grid of the series.
    """
    from fsl.transform.flirt import fromFlirt

    grid = fsl_grid(image)
    return np.stack([fromFlirt(_eddy_matrix(row, image), grid, grid, "world", "world") for row in parameters])


def topup_matrices(folder: Path, volumes: int, image: Image) -> np.ndarray:
    """Rigid motion of each volume as world matrices, reference to volume, (t, 4, 4).

    TOPUP's ``--rbmout`` matrices map the volume to the reference, in FSL millimetres.
    """
    from fsl.transform.flirt import fromFlirt, readFlirt

    grid = fsl_grid(image)
    files = [folder / f"motion_{number:02d}.mat" for number in range(1, volumes + 1)]
    return np.stack([np.linalg.inv(fromFlirt(readFlirt(path), grid, grid, "world", "world")) for path in files])


def motion_parameters(matrices: np.ndarray, image: Image) -> np.ndarray:
    """Translations (mm) and rotations (rad) of :mod:`scan2map.preprocess.dwi.rigid`, (t, 6)."""
    centre = grid_centre_mm(image.data.shape, image.affine)
    return np.stack([rigid_parameters(matrix, centre) for matrix in matrices])


def eddy_coefficients(parameters: np.ndarray, model: str, affine: np.ndarray) -> np.ndarray:
    """Eddy-current field of each volume in the terms of :mod:`scan2map.preprocess.dwi.eddy`, (t, 10).

    Args:
        parameters: (t, 6 + n), rows of ``eddy_parameters``.
        model: ``linear`` or ``quadratic``.
        affine: voxel to world of the original image; when its first axis was mirrored for FSL, odd powers of x are
            mirrored back.

    Raises:
        ToolError: another number of columns than the model has.
    """
    terms = EDDY_TERMS[model]
    if parameters.shape[1] != 6 + len(terms):
        raise ToolError("eddy wrote another model", found=f"{parameters.shape[1]} columns", allowed=6 + len(terms))
    coefficients = np.zeros((len(parameters), len(TERMS)))
    coefficients[:, [TERMS.index(term) for term in terms]] = parameters[:, 6:]
    odd_in_x = np.array([term.count("x") == 1 for term in TERMS])
    return np.where(odd_in_x & (not is_radiological(affine)), -coefficients, coefficients)


def read_slice_table(path) -> np.ndarray:
    """One of eddy's tables of slices, (t, z). The first line of the file is a heading."""
    return np.loadtxt(path, skiprows=1, ndmin=2)


def tensor_maps(folder: Path, base: str, original: Image) -> TensorMaps:
    """DTIFIT's results with tensor and direction along world axes.

    DTIFIT works along the axes of the b-vectors: D_world = A D A^T and v_world = A v with A from
    :func:`~scan2map.preprocess.dwi.gradients.bvec_to_world`. Its element order is xx, xy, xz, yy, yz, zz.
    """
    to_world = bvec_to_world(original.affine)
    full = load_result(folder / f"{base}_tensor.nii.gz", original)[..., FULL]
    tensor = to_world @ full.reshape(*full.shape[:3], 3, 3) @ to_world.T
    eigenvalues = [load_result(folder / f"{base}_{name}.nii.gz", original) for name in ("L1", "L2", "L3")]
    return TensorMaps(
        tensor=tensor[..., ROWS, COLUMNS].astype(np.float32),
        s0=load_result(folder / f"{base}_S0.nii.gz", original),
        eigenvalues=np.stack(eigenvalues, axis=-1),
        direction=(load_result(folder / f"{base}_V1.nii.gz", original) @ to_world.T).astype(np.float32),
    )
