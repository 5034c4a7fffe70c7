"""What a set of echo-planar images says about one off-resonance field: residuals and their derivatives.

Image i, corrected with the field f and its rigid motion, is c_i(x) = g_i V_i(y_i(x)) J_i(x) (coordinates y_i and
Jacobian J_i of :mod:`scan2map.preprocess.dwi.resample`, intensity scale g_i). A field is right when all c_i are the
same image: the data term is the sum of squares of c_i minus their mean. Linearised about the current estimate,

    dc_i = g_i s_i T_i [ J_i dV_i/du df + V_i d(df)/du ] + g_i J_i grad V_i . dy_i/dp dp,

which gives Gauss-Newton normal equations in the spline coefficients of f and the motion parameters p (Andersson,
Skare and Ashburner 2003, NeuroImage 20:870, equations 9 to 13; here matrix-free).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from scan2map.preprocess.dwi.bspline_field import BSplineField, apply_axis, basis_matrix
from scan2map.preprocess.dwi.interpolation import inside_volume, prefilter_matrix, sample
from scan2map.preprocess.dwi.phase_encoding import phase_axis
from scan2map.preprocess.dwi.resample import voxel_motion
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix

ROTATION_ARM_MM = 50.0  # a rotation parameter is counted as the arc at this radius, so that all parameters are in mm
DERIVATIVE_STEP_MM = 1e-3
FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True)
class Acquisition:
    """The images of one estimate (intensities about 1) and how each was encoded."""

    images: torch.Tensor  # (n, x, y, z)
    affine: np.ndarray
    directions: tuple[str, ...]
    readout_times_s: tuple[float, ...]

    @property
    def voxel_size_mm(self) -> np.ndarray:
        """Edge lengths of a voxel, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def axes(self) -> tuple[int, ...]:
        """The phase-encoding axes that occur, in order."""
        return tuple(sorted({phase_axis(direction)[0] for direction in self.directions}))

    @property
    def reference_time_s(self) -> float:
        """Readout time that turns Hz into the voxels of the solver's field: the longest."""
        return max(self.readout_times_s)

    def shift_per_field(self, index: int) -> float:
        """Displacement of an image along its axis (voxels) per unit of the solver's field."""
        return phase_axis(self.directions[index])[1] * self.readout_times_s[index] / self.reference_time_s


@dataclass
class State:
    """The estimate: spline coefficients of the field (voxels at the reference readout time), motion and scales."""

    coefficients: torch.Tensor
    motion: np.ndarray  # (n, 6): mm, arc mm
    scales: torch.Tensor  # (n,)


def blur_matrix(length: int, fwhm_voxels: float) -> np.ndarray:
    """Gaussian smoothing of a line (mirrored at its ends) as a matrix, shape (length, length)."""
    if fwhm_voxels <= 0:
        return np.eye(length)
    sigma, index = fwhm_voxels / FWHM_PER_SIGMA, np.arange(length)
    reach = int(np.ceil(4 * sigma))
    matrix = np.zeros((length, length))
    for offset in range(-reach, reach + 1):
        source = np.abs(index + offset) % max(2 * (length - 1), 1)
        source = np.minimum(source, max(2 * (length - 1), 1) - source) if length > 1 else source * 0
        np.add.at(matrix, (index, source), np.exp(-0.5 * (offset / sigma) ** 2))
    return matrix / matrix.sum(axis=1, keepdims=True)


def blurred_coefficients(volume: torch.Tensor, fwhm_voxels) -> torch.Tensor:
    """Cubic B-spline coefficients of a volume smoothed with a Gaussian of that FWHM per axis."""
    for axis, fwhm in enumerate(fwhm_voxels):
        length = volume.shape[axis]
        matrix = prefilter_matrix(length) @ blur_matrix(length, fwhm)
        volume = apply_axis(torch.as_tensor(matrix).to(volume), volume, axis)
    return volume.contiguous()


def motion_matrix(motion, centre_mm) -> np.ndarray:
    """World matrix (4x4) of the solver's motion parameters (mm, arc mm)."""
    return rigid_matrix(np.asarray(motion) / ([1] * 3 + [ROTATION_ARM_MM] * 3), centre_mm)


def rigid_derivatives(place: Callable, motion: np.ndarray, points: torch.Tensor, force: torch.Tensor) -> torch.Tensor:
    """Derivatives of an image by the six motion parameters of the solver.

    Args:
        place: the voxel-to-voxel matrix (4x4) of motion parameters.
        motion: the parameters.
        points: reference voxel coordinates, shape (3, ...).
        force: spatial gradient of the image (times its Jacobian) at the moved points, shape (3, ...).

    Returns:
        Shape (6, ...).
    """
    parts = []
    for offset in np.eye(6) * DERIVATIVE_STEP_MM:
        change = (place(motion + offset) - place(motion - offset)) / (2 * DERIVATIVE_STEP_MM)
        change = torch.as_tensor(change).to(force)
        moved = torch.tensordot(change[:3, :3], points, dims=1) + change[:3, 3].reshape(3, *[1] * (points.ndim - 1))
        parts.append((force * moved).sum(0))
    return torch.stack(parts)


@dataclass
class Linearised:
    """Residuals and their derivatives about a state; ``parts[i]`` are derivatives by field and by its slopes."""

    corrected: torch.Tensor  # (n, x, y, z), the images corrected by the state
    residuals: torch.Tensor  # (n, x, y, z), centred over images
    parts: torch.Tensor  # (n, 1 + axes, x, y, z), centred over images
    motion_parts: torch.Tensor | None  # (n - 1, 6, x, y, z), not centred
    weight: torch.Tensor  # (x, y, z), 1 inside all fields of view

    @property
    def degrees_of_freedom(self) -> float:
        """Independent residuals: one less than images in each voxel that all images see."""
        return (len(self.residuals) - 1) * float(self.weight.sum())

    @property
    def mean_square(self) -> float:
        """Mean squared residual."""
        return float(self.residuals.square().sum()) / self.degrees_of_freedom


class EpiModel:
    """One resolution level of the problem: blurred images, sample points and field basis.

    Args:
        acquisition: the images.
        knot_spacing_mm: of the field's splines.
        sample_spacing_mm: sample every so many mm along each axis (at least every voxel).
        blur_fwhm_mm: smoothing of the images.
        with_motion: also linearise by the motion parameters.
    """

    def __init__(self, acquisition: Acquisition, *, knot_spacing_mm, sample_spacing_mm, blur_fwhm_mm, with_motion):
        self.acquisition, self.with_motion = acquisition, with_motion
        images, size = acquisition.images, acquisition.voxel_size_mm
        self.shape = tuple(images.shape[1:])
        self.volumes = [blurred_coefficients(image, blur_fwhm_mm / size) for image in images]
        strides = np.maximum(np.floor(sample_spacing_mm / size + 1e-6), 1).astype(int)
        self.voxels_per_sample = int(strides.prod())
        self.sample_spacing_mm = strides * size
        self.positions = [np.arange((n - 1) % step / 2, n, step) for n, step in zip(self.shape, strides, strict=True)]
        axes = [torch.as_tensor(position).to(images) for position in self.positions]
        self.points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        self.spacing = knot_spacing_mm / size
        self.basis = BSplineField(
            self.shape, self.positions, self.spacing, size, acquisition.axes, images.dtype, images.device
        )
        self.centre_mm = grid_centre_mm(self.shape, acquisition.affine)

    def adopt(self, coefficients: torch.Tensor, spacing) -> torch.Tensor:
        """This level's coefficients of a field given on another knot spacing."""
        values = coefficients
        for axis in range(3):
            matrix = basis_matrix(self.positions[axis], self.shape[axis], spacing[axis])
            values = apply_axis(torch.as_tensor(matrix).to(coefficients), values, axis)
        return self.basis.fit(values)

    def initial_state(self) -> State:
        """No field, no motion, equal scales."""
        count = len(self.volumes)
        return State(self.basis.zeros(), np.zeros((count, 6)), torch.ones(count).to(self.points))

    def full_field(self, state: State) -> torch.Tensor:
        """The field on every voxel of the grid, in voxels at the reference readout time."""
        values = state.coefficients
        for axis, length in enumerate(self.shape):
            matrix = basis_matrix(np.arange(length), length, self.spacing[axis])
            values = apply_axis(torch.as_tensor(matrix).to(values), values, axis)
        return values

    def _place(self, motion: np.ndarray) -> np.ndarray:
        return voxel_motion(motion_matrix(motion, self.centre_mm), self.acquisition.affine)

    def _corrected(self, index: int, state: State, field, slopes):
        """One corrected image with its gradient at the displaced points, its Jacobian and its field of view."""
        axis, _ = phase_axis(self.acquisition.directions[index])
        factor = self.acquisition.shift_per_field(index)
        place = torch.as_tensor(self._place(state.motion[index])).to(field)
        points = torch.tensordot(place[:3, :3], self.points, dims=1) + place[:3, 3].reshape(3, 1, 1, 1)
        points[axis] += factor * field
        direction = torch.linalg.inv(place[:3, :3])[:, axis]
        jacobian = 1 + factor * torch.tensordot(direction, slopes, dims=1)
        value, gradient = sample(self.volumes[index], points, gradient=True)
        return value * state.scales[index], gradient * state.scales[index], jacobian, inside_volume(points, self.shape)

    def _field_parts(self, index: int, value, gradient, jacobian) -> torch.Tensor:
        axis, _ = phase_axis(self.acquisition.directions[index])
        factor = self.acquisition.shift_per_field(index)
        slope_parts = [factor * value if other == axis else torch.zeros_like(value) for other in self.acquisition.axes]
        return torch.stack([factor * jacobian * gradient[axis], *slope_parts])

    def _motion_parts(self, motion: np.ndarray, force: torch.Tensor) -> torch.Tensor:
        return rigid_derivatives(self._place, motion, self.points, force)

    def held_motion(self) -> np.ndarray:
        """Projection on the one motion that no image can tell, shape (6 (n - 1), 6 (n - 1)).

        A constant field moves every image along its own phase-encoding axis, as a translation would: of all such
        pairs the one without translation of the first image encoded opposite to the reference is taken.
        """
        acquisition = self.acquisition
        factors = [acquisition.shift_per_field(index) for index in range(len(self.volumes))]
        held = max(range(1, len(factors)), key=lambda index: abs(factors[index] - factors[0]))
        axis, _ = phase_axis(acquisition.directions[held])
        direction = np.zeros(6 * (len(factors) - 1))
        direction[6 * (held - 1) : 6 * (held - 1) + 3] = acquisition.affine[:3, axis] / acquisition.voxel_size_mm[axis]
        return np.outer(direction, direction)

    def linearise(self, state: State) -> Linearised:
        """Residuals about a state, and their derivatives."""
        field = self.basis.value(state.coefficients)
        slopes = torch.stack([self.basis.slope(state.coefficients, axis) for axis in range(3)])
        weight, corrected, parts, motion_parts = torch.ones_like(field), [], [], []
        for index in range(len(self.volumes)):
            value, gradient, jacobian, seen = self._corrected(index, state, field, slopes)
            weight = weight * seen
            corrected.append(value * jacobian)
            parts.append(self._field_parts(index, value, gradient, jacobian))
            if self.with_motion and index > 0:
                motion_parts.append(self._motion_parts(state.motion[index], gradient * jacobian))
        corrected, parts = torch.stack(corrected), torch.stack(parts)
        return Linearised(
            corrected=corrected,
            residuals=(corrected - corrected.mean(0)) * weight,
            parts=(parts - parts.mean(0)) * weight,
            motion_parts=torch.stack(motion_parts) * weight if motion_parts else None,
            weight=weight,
        )
