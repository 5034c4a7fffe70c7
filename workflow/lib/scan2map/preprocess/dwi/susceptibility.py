"""Susceptibility distortion from images with opposed phase encoding: one field, found coarse to fine.

The problem is that of TOPUP (Andersson, Skare and Ashburner 2003, NeuroImage 20:870): the one off-resonance field and
the rigid motion between images that make all corrected images alike. It is solved here by Gauss-Newton steps on cubic
B-splines over resolution levels of falling blur and knot spacing, in torch, on CPU or GPU; what the field is like is
said by :mod:`scan2map.preprocess.dwi.field_prior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from scan2map.errors import DataError
from scan2map.logs import LOGGER
from scan2map.preprocess.dwi.constant_field import without_constant
from scan2map.preprocess.dwi.epi_model import Acquisition, EpiModel, Linearised, State, motion_matrix
from scan2map.preprocess.dwi.field_prior import FieldPrior, cauchy_weight, tissue_weight
from scan2map.preprocess.dwi.normal_equations import NormalEquations, conjugate_gradients
from scan2map.preprocess.dwi.phase_encoding import check_readout_time, group_acquisitions, is_opposed
from scan2map.preprocess.dwi.repeats import align_groups, group_means
from scan2map.preprocess.dwi.resample import resample_volumes
from scan2map.preprocess.dwi.rigid import rigid_parameters

SMALLEST_VARIANCE = 1e-10  # of a residual; the head's mean intensity is one
STEP_REDUCTION = 4.0
FINEST_KNOTS_VOXELS = 1.0  # as TOPUP; closer splines would follow nothing but noise


@dataclass(frozen=True)
class Level:
    """One resolution level; the knots are given as a multiple of the finest ones."""

    knot_factor: float
    sample_spacing_mm: float
    blur_fwhm_mm: float
    bending: float  # weight of the bending energy, 1 / (voxel of displacement / mm^2)^2
    laplacian_scale: float  # of the prior in tissue, voxels of displacement / mm^2
    estimate_motion: bool


# TOPUP's schedule (b02b0.cnf) in five steps instead of nine. The weights of the prior were chosen on a simulated head
# (error against the true field) and on one real head (agreement of the corrected images, and with a gradient-echo
# field map); docs/susceptibility.md has the figures.
SCHEDULE = (
    Level(5.0, 8.0, 8.0, bending=1000, laplacian_scale=0.02, estimate_motion=True),
    Level(3.5, 6.0, 6.0, bending=300, laplacian_scale=0.02, estimate_motion=True),
    Level(2.5, 6.0, 4.0, bending=20, laplacian_scale=0.01, estimate_motion=True),
    Level(1.5, 3.0, 3.0, bending=20, laplacian_scale=0.005, estimate_motion=True),
    Level(1.0, 0.0, 0.0, bending=20, laplacian_scale=0.0035, estimate_motion=False),
)


@dataclass(frozen=True)
class FieldEstimate:
    """The result of :func:`estimate_field`; everything refers to the head position of the first image."""

    field_hz: np.ndarray  # (x, y, z)
    motion: np.ndarray  # (n, 6): mm, rad (see scan2map.preprocess.dwi.rigid), first row zero
    corrected: np.ndarray  # (n, x, y, z), in the intensities of the input
    uncorrected_means: np.ndarray  # (groups, x, y, z): repeats aligned and averaged
    corrected_means: np.ndarray  # (groups, x, y, z)
    groups: np.ndarray  # (n,): number of the acquisition (direction and readout time) of each image
    scales: np.ndarray  # (groups,): intensity factor of each acquisition against the first
    residual_rms: tuple[float, ...]  # at the end of each level, as a fraction of the mean head intensity


def _require(condition: bool, problem: str, **details) -> None:
    if not condition:
        raise DataError(problem, **details)


def check_inputs(images: Sequence[np.ndarray], phase_encoding: Sequence[str], readout_times_s: Sequence[float]) -> None:
    """Stop unless the images can tell a field.

    Raises:
        DataError: fewer than two images, different grids or numbers of values, voxels that are not numbers, an
            empty image, an unknown direction, an unusable readout time, or all images displaced alike.
    """
    count = len(images)
    _require(count >= 2, "A field needs at least two images", found=count, remedy="acquire a reversed b0")
    lengths = (count, len(phase_encoding), len(readout_times_s))
    _require(len(set(lengths)) == 1, "One direction and one readout time per image are needed", found=lengths)
    shapes = {np.shape(image) for image in images}
    _require(len(shapes) == 1 and len(next(iter(shapes))) == 3, "The b0 images are on different grids", found=shapes)
    for index, image in enumerate(images):
        bad = int((~np.isfinite(image)).sum())
        _require(bad == 0, f"b0 image {index + 1} holds values that are not numbers", found=f"{bad} voxels")
        _require(np.max(image) > 0, f"b0 image {index + 1} is empty", remedy="exclude it in exclusions.tsv")
    times = [check_readout_time(time) for time in readout_times_s]
    _require(
        is_opposed(phase_encoding, times),
        "All b0 images are displaced alike, so they hold no information on the field",
        found=", ".join(phase_encoding),
        allowed="at least two phase-encoding directions or readout times",
        remedy="add a reversed phase-encoding b0, or set fieldmap.missing_reverse to uncorrected",
    )


def head_intensity(image: torch.Tensor) -> torch.Tensor:
    """Mean of the voxels brighter than the image's mean: a scale for the head's signal."""
    return image[image > image.mean()].mean()


def _rescaled(state: State, linearised: Linearised) -> State:
    """Scales that bring each corrected image to their mean; their geometric mean is one."""
    corrected = linearised.corrected * linearised.weight
    gains = (corrected * corrected.mean(0)).sum((1, 2, 3)) / corrected.square().sum((1, 2, 3))
    scales = state.scales * gains
    return replace(state, scales=scales / scales.log().mean().exp())


def _stepped(state: State, field: torch.Tensor, motion: torch.Tensor) -> State:
    moved = state.motion.copy()
    moved[1:] += motion.double().cpu().numpy().reshape(-1, 6) if motion.numel() else 0
    return replace(state, coefficients=state.coefficients + field, motion=moved)


def _objective(linearised: Linearised, state: State, variance: float, prior: FieldPrior) -> float:
    return linearised.mean_square * linearised.degrees_of_freedom / variance + prior.energy(state.coefficients)


def _prior(model: EpiModel, state: State, level: Level, tissue: torch.Tensor, smoothness: float) -> FieldPrior:
    """The prior about a state: the heavy-tailed penalty is replaced by the parabola that touches it there."""
    laplacian = model.basis.laplacian(state.coefficients)
    return FieldPrior(model.basis, smoothness * level.bending, tissue * cauchy_weight(laplacian, level.laplacian_scale))


def fit_level(model: EpiModel, state: State, level: Level, settings: dict) -> tuple[State, float]:
    """Gauss-Newton steps at one resolution level until the objective stops falling.

    Returns:
        The new state and the root mean square residual.
    """
    state = _rescaled(state, model.linearise(state))
    linearised = model.linearise(state)
    tissue = tissue_weight(linearised.corrected.mean(0), model.sample_spacing_mm) * model.voxels_per_sample
    fraction = 1.0
    for _ in range(settings["iterations"]):
        prior = _prior(model, state, level, settings["smoothness"] * tissue, settings["smoothness"])
        variance = max(linearised.mean_square, SMALLEST_VARIANCE)
        before = _objective(linearised, state, variance, prior)
        equations = NormalEquations(model, linearised, state, noise_variance=variance, prior=prior)
        step, used = conjugate_gradients(
            equations.multiply,
            -equations.gradient,
            equations.precondition,
            iterations=settings["solver_iterations"],
            tolerance=settings["solver_tolerance"],
        )
        trial = _stepped(state, *equations.split(fraction * step))
        attempt = model.linearise(trial)
        after = _objective(attempt, trial, variance, prior)
        LOGGER.debug("rms %.5f, objective %.6g -> %.6g, %d solver steps", variance**0.5, before, after, used)
        if after > before:
            fraction /= STEP_REDUCTION
            continue
        state, linearised, fraction = trial, attempt, 1.0
        if before - after < settings["tolerance"] * before:
            break
    return state, linearised.mean_square**0.5


def _fit_schedule(acquisition: Acquisition, settings: dict) -> tuple[EpiModel, State, list[float]]:
    model = state = None
    finest_mm = max(settings["knot_spacing_mm"], FINEST_KNOTS_VOXELS * acquisition.voxel_size_mm.max())
    residuals = []
    for level in SCHEDULE:
        before, model = (
            model,
            EpiModel(
                acquisition,
                knot_spacing_mm=level.knot_factor * finest_mm,
                sample_spacing_mm=level.sample_spacing_mm,
                blur_fwhm_mm=level.blur_fwhm_mm,
                with_motion=level.estimate_motion,
            ),
        )
        state = (
            model.initial_state()
            if before is None
            else replace(state, coefficients=model.adopt(state.coefficients, before.spacing))
        )
        state, rms = fit_level(model, state, level, settings)
        residuals.append(rms)
        LOGGER.info("blur %g mm: residual %.4f of the head's intensity", level.blur_fwhm_mm, rms)
    return model, state, residuals


def _settled(model: EpiModel, state: State, constant_field: str) -> tuple[torch.Tensor, np.ndarray]:
    """The field on every voxel and the world motion of each acquisition, the constant field settled."""
    field = model.full_field(state)
    motion = np.stack([motion_matrix(row, model.centre_mm) for row in state.motion])
    if constant_field == "head_still":
        return field, motion
    weight = tissue_weight(model.linearise(state).corrected.mean(0), model.sample_spacing_mm)
    constant = float((field * weight).sum() / weight.sum())
    return without_constant(field, motion, model.acquisition, constant)


def estimate_field(
    images: Sequence[np.ndarray],
    affine: np.ndarray,
    phase_encoding: Sequence[str],
    readout_times_s: Sequence[float],
    settings: dict,
    device: str = "cpu",
) -> FieldEstimate:
    """The off-resonance field that makes images with different phase encoding alike.

    Repeats of one direction and readout time are aligned and averaged first. What settles the constant part of the
    field, which no image can tell (:mod:`scan2map.preprocess.dwi.constant_field`), is ``settings["constant_field"]``.

    Args:
        images: b0 images on one grid, each (x, y, z); the first one is the reference position of the head.
        affine: voxel-to-world affine of the grid.
        phase_encoding: BIDS direction of each image.
        readout_times_s: total readout time of each image.
        settings: block ``fieldmap``: ``constant_field``, ``knot_spacing_mm``, ``smoothness``, ``iterations``,
            ``solver_iterations``, ``solver_tolerance``, ``tolerance``.
        device: torch device.

    Returns:
        Field, motion and corrected images.

    Raises:
        DataError: the images cannot tell a field, see :func:`check_inputs`.
    """
    check_inputs(images, phase_encoding, readout_times_s)
    affine = np.asarray(affine, dtype=float)
    stack = torch.as_tensor(np.stack(images), dtype=torch.float32, device=device)
    groups = group_acquisitions(phase_encoding, readout_times_s)
    within = align_groups(stack, affine, groups)
    firsts = [int(np.flatnonzero(groups == group)[0]) for group in range(groups.max() + 1)]
    encoding = {"phase_encoding": phase_encoding, "readout_time_s": readout_times_s, "device": device}
    means = group_means(resample_volumes(stack, affine, field_hz=None, rigid=within, **encoding), groups)
    intensities = torch.stack([head_intensity(mean) for mean in means])
    acquisition = Acquisition(
        means / intensities.reshape(-1, 1, 1, 1),
        affine,
        tuple(phase_encoding[first] for first in firsts),
        tuple(float(readout_times_s[first]) for first in firsts),
    )
    model, state, residuals = _fit_schedule(acquisition, settings)
    field, between = _settled(model, state, settings["constant_field"])
    field_hz, rigid = field / acquisition.reference_time_s, within @ between[groups]
    corrected = resample_volumes(stack, affine, field_hz=field_hz, rigid=rigid, **encoding)
    scales = state.scales / intensities
    return FieldEstimate(
        field_hz=field_hz.cpu().numpy(),
        motion=np.stack([rigid_parameters(matrix, model.centre_mm) for matrix in rigid]) + 0.0,
        corrected=corrected.cpu().numpy(),
        uncorrected_means=means.cpu().numpy(),
        corrected_means=group_means(corrected, groups).cpu().numpy(),
        groups=groups,
        scales=(scales / scales[0]).cpu().numpy(),
        residual_rms=tuple(residuals),
    )
