"""Image registration through ANTs (antspyx), and transforms in world coordinates (RAS+, mm)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np

from scan2map.errors import DataError, ToolError
from scan2map.images import Image

# NIfTI worlds are RAS+, ITK's are LPS+.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FACE_TOLERANCE = 1e-3  # voxels
SPLINE_ORDER = {"nearest": 0, "linear": 1, "cubic": 3}
ITK_AFFINE = "AffineTransform_double_3_3"


@dataclass(frozen=True)
class Transform:
    """Where each point of the fixed image lies in the moving image: ``y = linear @ (x + displacement(x))``.

    This is the direction that resampling the moving image onto the fixed grid needs ("pull").

    Attributes:
        linear: 4x4, world of the fixed image to world of the moving image (RAS+, mm).
        displacement: (x, y, z, 3) mm in RAS+ axes on a grid of the fixed world, or None.
    """

    linear: np.ndarray = field(default_factory=lambda: np.eye(4))
    displacement: Image | None = None

    def points(self, world: np.ndarray) -> np.ndarray:
        """Map points (n, 3) of the fixed world to the moving world, mm."""
        if self.displacement is not None:
            world = world + _sample_vectors(self.displacement, world)
        return world @ self.linear[:3, :3].T + self.linear[:3, 3]

    def inverse(self) -> Transform:
        """The opposite direction of a linear transform.

        Raises:
            ValueError: the transform has a displacement field.
        """
        if self.displacement is not None:
            raise ValueError("only linear transforms are inverted here")
        return Transform(np.linalg.inv(self.linear))


def register_rigid(fixed: Image, moving: Image, **options) -> Transform:
    """Rigid registration; options as in :func:`register_linear`."""
    return register_linear(fixed, moving, kind="Rigid", **options)


def register_affine(fixed: Image, moving: Image, **options) -> Transform:
    """Affine registration (12 parameters); options as in :func:`register_linear`."""
    return register_linear(fixed, moving, kind="Affine", **options)


def register_linear(
    fixed: Image,
    moving: Image,
    *,
    kind: str,
    initial: Transform | str = "identity",
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    metric: str = "mattes",
    iterations: tuple[int, ...] = (500, 250, 100),
    shrink_factors: tuple[int, ...] = (4, 2, 1),
    smoothing_voxels: tuple[int, ...] = (2, 1, 0),
    sampling_rate: float = 0.25,
    seed: int = 1,
) -> Transform:
    """Linear registration by ANTs with a multi-resolution search.

    Args:
        fixed: the image whose grid stays, (x, y, z).
        moving: the image that is moved, (x, y, z).
        kind: ``Rigid`` or ``Affine``.
        initial: start; a linear transform, ``identity`` (scanner coordinates) or ``mass`` (centres of intensity).
        fixed_mask: where the images are compared, on the fixed grid; everywhere if None.
        moving_mask: the same on the moving grid.
        metric: ``mattes`` (mutual information, between contrasts) or ``GC`` (correlation, within one contrast).
        iterations: most iterations per level, coarse to fine.
        shrink_factors: downsampling per level.
        smoothing_voxels: Gaussian smoothing per level, voxels.
        sampling_rate: share of voxels that the metric uses (on a regular grid).
        seed: start of ANTs' random numbers.

    Returns:
        The transform that brings the moving image onto the fixed one.

    Raises:
        ToolError: ANTs failed.

    Source: Avants et al. 2011, NeuroImage 54:2033 (ANTs); Mattes et al. 2003, IEEE TMI 22:120 (metric).
    """
    with TemporaryDirectory() as folder:
        answer = _run_ants(
            fixed,
            moving,
            folder,
            type_of_transform=kind,
            initial_transform=_initial_argument(initial, folder),
            mask=_to_ants_mask(fixed_mask, fixed),
            moving_mask=_to_ants_mask(moving_mask, moving),
            mask_all_stages=True,
            aff_metric=metric,
            aff_iterations=tuple(iterations),
            aff_shrink_factors=tuple(shrink_factors),
            aff_smoothing_sigmas=tuple(smoothing_voxels),
            aff_random_sampling_rate=sampling_rate,
            random_seed=seed,
        )
        return load_transform(answer["fwdtransforms"][0])


def register_nonlinear(
    fixed: Image,
    moving: Image,
    *,
    initial: Transform,
    fixed_mask: np.ndarray | None = None,
    iterations: tuple[int, ...] = (40, 20, 0),
    metric: str = "mattes",
    metric_sampling: int = 32,
    seed: int = 1,
) -> Transform:
    """Diffeomorphic registration (SyN) after a linear start.

    Args:
        fixed: the image whose grid stays, (x, y, z).
        moving: the image that is warped, (x, y, z).
        initial: linear start.
        fixed_mask: where the images are compared, on the fixed grid; everywhere if None.
        iterations: most iterations per level, coarse to fine; the last level is full resolution.
        metric: ``mattes``, ``CC`` or ``meansquares``.
        metric_sampling: bins (mattes) or radius in voxels (CC).
        seed: start of ANTs' random numbers.

    Returns:
        The start followed by the warp, displacement on the fixed grid.

    Raises:
        ToolError: ANTs failed.

    Source: Avants et al. 2008, Medical Image Analysis 12:26.
    """
    with TemporaryDirectory() as folder:
        answer = _run_ants(
            fixed,
            moving,
            folder,
            type_of_transform="SyNOnly",
            initial_transform=_initial_argument(initial, folder),
            mask=_to_ants_mask(fixed_mask, fixed),
            syn_metric=metric,
            syn_sampling=metric_sampling,
            reg_iterations=tuple(iterations),
            random_seed=seed,
        )
        warp = next(name for name in answer["fwdtransforms"] if name.endswith(".nii.gz"))
        return Transform(initial.linear, load_transform(warp).displacement)


def apply_transform(image: Image, reference: Image, transform: Transform, interpolation: str = "linear") -> Image:
    """Resample a moving image onto the grid of the fixed one.

    Args:
        image: the moving image, (x, y, z) or (x, y, z, t).
        reference: gives the grid.
        transform: fixed world to moving world.
        interpolation: ``nearest`` (labels), ``linear``, ``cubic``, or ``mean``: the linear interpolation averaged
            over each reference voxel, for fine maps (tissue fractions) on a coarse grid.

    Returns:
        The image on the reference grid, float32 (labels keep their type); 0 outside the field of view.
    """
    if image.data.ndim == 4:
        volumes = [Image(image.data[..., index], image.affine) for index in range(image.data.shape[3])]
        moved = [apply_transform(volume, reference, transform, interpolation).data for volume in volumes]
        return Image(np.stack(moved, axis=-1), reference.affine)
    if interpolation == "mean":
        return _apply_mean(image, reference, transform)
    grid = voxel_centres(reference.data.shape[:3], reference.affine)
    return Image(
        sample_image(image, transform.points(grid), interpolation).reshape(reference.data.shape[:3]), reference.affine
    )


def resample_isotropic(image: Image, voxel_mm: float) -> Image:
    """The image on an isotropic grid along its own axes, averaged over each new voxel."""
    scale = voxel_mm / image.voxel_size_mm
    shape = np.ceil(np.array(image.data.shape[:3]) / scale - 1e-3).astype(int)
    affine = image.affine.copy()
    affine[:3, :3] = image.affine[:3, :3] * scale
    affine[:3, 3] += image.affine[:3, :3] @ ((scale - 1) / 2)
    return apply_transform(image, Image(np.empty(shape, dtype=bool), affine), Transform(), "mean")


def save_transform(path, transform: Transform) -> None:
    """Write a transform for ITK and ANTs: ``.mat`` (linear) or ``.nii.gz`` (displacement field, linear part included).

    Raises:
        ValueError: a ``.mat`` file cannot hold a displacement field, or a ``.nii.gz`` file needs one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    if (path.suffix == ".mat") != (transform.displacement is None):
        raise ValueError(f"{path.name} does not fit the transform: .mat is for linear ones, .nii.gz for warps")
    if transform.displacement is None:
        _write_itk_affine(partial, transform.linear)
    else:
        _write_itk_displacement(partial, transform)
    os.replace(partial, path)


def load_transform(path) -> Transform:
    """Read an ITK transform, ``.mat`` or ``.nii.gz``.

    Raises:
        DataError: the file is not one of these.
    """
    path = Path(path)
    try:
        return _read_itk_affine(path) if path.suffix == ".mat" else _read_itk_displacement(path)
    except Exception as error:  # SciPy and NiBabel each raise kinds of their own
        raise DataError(
            f"The transform cannot be read ({error})", file=path, remedy="delete it and run again"
        ) from error


def rigid_matrix(translation_mm, rotation_rad, centre_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    """The 4x4 matrix of a rotation about x, then y, then z through a centre, then a translation.

    Args:
        translation_mm: (3,) mm.
        rotation_rad: (3,) angles about the x, y and z axes of the world, radians.
        centre_mm: (3,) fixed point of the rotation, mm.
    """
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_rad).as_matrix()
    centre = np.asarray(centre_mm, dtype=float)
    matrix[:3, 3] = np.asarray(translation_mm) + centre - matrix[:3, :3] @ centre
    return matrix


def rigid_parameters(matrix: np.ndarray, centre_mm=(0.0, 0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """Translation (mm) and rotation angles (radians) of a rigid matrix: the inverse of :func:`rigid_matrix`."""
    from scipy.spatial.transform import Rotation

    centre = np.asarray(centre_mm, dtype=float)
    translation = matrix[:3, 3] - centre + matrix[:3, :3] @ centre
    return translation, Rotation.from_matrix(matrix[:3, :3]).as_euler("xyz")


def to_ants(image: Image):
    """The image as an ``ANTsImage``, in ITK's LPS+ world."""
    ants = load_ants()
    affine = RAS_TO_LPS @ image.affine
    spacing = image.voxel_size_mm
    return ants.from_numpy(
        np.ascontiguousarray(image.data, dtype=np.float32),
        origin=affine[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=affine[:3, :3] / spacing,
    )


def load_ants():
    """ANTs on one thread: with several, the order of sums, and so the last digits, would change from run to run."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import ants

    return ants


def _run_ants(fixed: Image, moving: Image, folder: str, **arguments) -> dict:
    try:
        return load_ants().registration(to_ants(fixed), to_ants(moving), outprefix=f"{folder}/", **arguments)
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        raise ToolError(
            f"ANTs could not register the images ({error})",
            found=f"{fixed.data.shape} and {moving.data.shape} voxels",
            remedy="look at both images: is one of them empty, or are they far apart?",
        ) from error


def _to_ants_mask(mask: np.ndarray | None, image: Image):
    return None if mask is None else to_ants(Image(np.asarray(mask, dtype=np.float32), image.affine))


def _initial_argument(initial: Transform | str, folder: str) -> str | None:
    if initial == "mass":
        return None  # ANTs' own default
    if initial == "identity":
        return "Identity"
    start = f"{folder}/start.mat"
    _write_itk_affine(start, initial.linear)
    return start


def voxel_centres(shape, affine: np.ndarray, offset=(0.0, 0.0, 0.0)) -> np.ndarray:
    """World coordinates (n, 3) of the voxel centres, shifted by an offset in voxels."""
    axes = [np.arange(size) + shift for size, shift in zip(shape, offset, strict=True)]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def sample_image(image: Image, world: np.ndarray, interpolation: str) -> np.ndarray:
    """Values of an image at world points (n, 3), mm; 0 outside the field of view.

    The field of view ends at the outer face of the outer voxels: up to half a voxel beyond a centre, its value counts.
    """
    from scipy.ndimage import map_coordinates

    voxels = _to_voxels(image.affine, world)
    last = np.array(image.data.shape)[:, None] - 1
    seen = ((voxels >= -0.5 - FACE_TOLERANCE) & (voxels <= last + 0.5 + FACE_TOLERANCE)).all(axis=0)
    order = SPLINE_ORDER[interpolation]
    data = image.data if order == 0 else image.data.astype(np.float32, copy=False)
    return np.where(
        seen, map_coordinates(data, np.clip(voxels, 0, last), order=order, mode="nearest"), data.dtype.type(0)
    )


def _sample_vectors(field_image: Image, world: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    voxels = _to_voxels(field_image.affine, world)
    parts = [map_coordinates(field_image.data[..., axis], voxels, order=1, mode="nearest") for axis in range(3)]
    return np.stack(parts, axis=-1)


def _to_voxels(affine: np.ndarray, world: np.ndarray) -> np.ndarray:
    """Voxel coordinates (3, n) of world points (n, 3)."""
    inverse = np.linalg.inv(affine)
    return inverse[:3, :3] @ world.T + inverse[:3, 3:]


def _apply_mean(image: Image, reference: Image, transform: Transform) -> Image:
    shape = reference.data.shape[:3]
    counts = np.maximum(np.ceil(reference.voxel_size_mm / image.voxel_size_mm - 1e-3), 1).astype(int)
    offsets = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    total = np.zeros(int(np.prod(shape)), dtype=np.float32)
    for offset in np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3):
        total += sample_image(image, transform.points(voxel_centres(shape, reference.affine, offset)), "linear")
    return Image((total / counts.prod()).reshape(shape), reference.affine)


def _write_itk_affine(path, linear: np.ndarray) -> None:
    from scipy.io import savemat

    lps = RAS_TO_LPS @ linear @ RAS_TO_LPS
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    savemat(path, {ITK_AFFINE: parameters[:, None], "fixed": np.zeros((3, 1))}, format="4", appendmat=False)


def _read_itk_affine(path) -> Transform:
    from scipy.io import loadmat

    content = loadmat(str(path))
    name = next((key for key in content if key.startswith(("AffineTransform", "Euler3D", "MatrixOffset"))), None)
    if name is None or content[name].size != 12:
        raise ValueError("it is not an ITK affine transform")
    parameters, centre = content[name].ravel(), content["fixed"].ravel()
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:] + centre - lps[:3, :3] @ centre
    return Transform(RAS_TO_LPS @ lps @ RAS_TO_LPS)


def _write_itk_displacement(path, transform: Transform) -> None:
    shape, affine = transform.displacement.data.shape[:3], transform.displacement.affine
    grid = voxel_centres(shape, affine)
    total = (transform.points(grid) - grid).reshape(*shape, 3) * np.diag(RAS_TO_LPS)[:3]
    image = nib.Nifti1Image(total[:, :, :, None, :].astype(np.float32), affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _read_itk_displacement(path) -> Transform:
    loaded = nib.load(path)
    data = np.asarray(loaded.dataobj, dtype=np.float32)
    if data.ndim != 5 or data.shape[3:] != (1, 3):
        raise ValueError(f"it is not a displacement field: shape {data.shape}")
    return Transform(np.eye(4), Image(data[:, :, :, 0, :] * np.diag(RAS_TO_LPS)[:3].astype(np.float32), loaded.affine))
