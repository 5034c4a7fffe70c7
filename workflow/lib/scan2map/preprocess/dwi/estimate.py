"""Head motion and eddy currents of a diffusion series: each volume is registered to its model-based prediction.

The prediction of a volume comes from the other volumes of the series (:mod:`scan2map.preprocess.dwi.predict`), so it
has the volume's own contrast but not its own motion. One Gauss-Newton step then moves six rigid and nine
eddy-current parameters of every volume; predictions and steps alternate, from smoothed to sharper images (Andersson
and Sotiropoulos 2016, NeuroImage 125:1063). What that cannot see, because predictions move along with it, is fixed
otherwise: the mean of a shell by its similarity to b = 0 (:mod:`scan2map.preprocess.dwi.shells`), the mean
eddy-current field of a shell because it is nearly linear in the gradient.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from scan2map.preprocess.dwi import motion as volume_motion
from scan2map.preprocess.dwi.eddy import OFFSET
from scan2map.preprocess.dwi.epi_model import blurred_coefficients
from scan2map.preprocess.dwi.gradients import GradientTable
from scan2map.preprocess.dwi.motion import RIGID, Motion, NormalSystem, Points, Sampled, Scan
from scan2map.preprocess.dwi.outliers import SLICE_AXIS, at_points, find_outliers, slice_scores, slice_sums
from scan2map.preprocess.dwi.predict import choose_hyperparameters, prediction_matrix
from scan2map.preprocess.dwi.resample import resample_volumes
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix, rigid_parameters
from scan2map.preprocess.dwi.shells import ARM_MM, align_means

LOGGER = logging.getLogger("scan2map")


class Level(NamedTuple):
    """One stage of the estimation: smoothing (full width at half maximum) and number of steps."""

    fwhm_mm: float
    iterations: int


# The last level still smooths by about one voxel: unsmoothed, interpolation noise pulls volumes onto grid positions.
LEVELS = (Level(8.0, 3), Level(4.0, 4))
# Share of the coupling between volumes (a prediction moves when its sources do) that a step takes into account:
# 0 converges slowly where volumes move together, 1 follows noise along motions that the data cannot see.
COUPLING = 0.5
# A shell's motion against b = 0 below this size (voxels) is within the accuracy of its estimate: none is applied.
SHELL_DEADBAND_VOXELS = 0.05
# Fewest changes between successive volumes from which the constant of the eddy-current field is separated.
MIN_CHANGES = 12
# Share of the deviation of an eddy-current field from being linear in the gradient that is believed. On a real scan
# 80 to 98 % of the variance is linear; a share of 0.3 agrees best with FSL's eddy, 0 and 1 agree less.
EDDY_FREEDOM = 0.3
# Free eddy-current terms per model; the constant one acts like a translation and is separated afterwards.
EDDY_TERMS = {"none": 0, "linear": 3, "quadratic": OFFSET}


def level_coefficients(scan: Scan, level: Level, index) -> dict[int, torch.Tensor]:
    """B-spline coefficients of smoothed volumes, by volume number."""
    fwhm_voxels = level.fwhm_mm / scan.voxel_size_mm
    return {int(volume): blurred_coefficients(scan.volumes[int(volume)], fwhm_voxels) for volume in index}


def estimate_b0(scan: Scan, points: Points) -> Motion:
    """Rigid motion of the b = 0 volumes against the first of them; the other volumes keep no motion."""
    motion, centre = Motion.none(len(scan.gradients)), grid_centre_mm(scan.shape, scan.affine)
    first, *others = (int(index) for index in np.flatnonzero(scan.gradients.is_b0))
    for level in LEVELS:
        coefficients = level_coefficients(scan, level, (first, *others))
        target = volume_motion.sample_volume(scan, points, coefficients[first], first, motion).value
        for _ in range(level.iterations):
            for index in others:
                sampled = volume_motion.sample_volume(scan, points, coefficients[index], index, motion)
                slopes = volume_motion.parameter_slopes(scan, sampled, index, 0)
                step = volume_motion.normal_system(slopes, target - sampled.value).solve()
                motion = volume_motion.moved_by(motion, index, step, centre)
    return motion


def start_between_b0(scan: Scan, motion: Motion) -> Motion:
    """Motion of every volume interpolated in time between the b = 0 volumes, as a start."""
    centre = grid_centre_mm(scan.shape, scan.affine)
    known = np.flatnonzero(scan.gradients.is_b0)
    parameters = np.array([rigid_parameters(motion.rigid[index], centre) for index in known])
    times = np.arange(len(scan.gradients))
    between = np.column_stack([np.interp(times, known, column) for column in parameters.T])
    return Motion(np.array([rigid_matrix(one, centre) for one in between]), motion.eddy)


class Residuals(NamedTuple):
    """Weighted volumes at the points, and their predictions.

    Attributes:
        signal: (t, n) corrected values; outlier slices hold their prediction.
        prediction: (t, n).
        weight: (t, n) 0 in outlier slices, 1 elsewhere.
        matrix: (t, t) how predictions depend on the volumes.
        scores: (t, slices) of :func:`outliers.slice_scores`.
    """

    signal: torch.Tensor
    prediction: torch.Tensor
    weight: torch.Tensor
    matrix: np.ndarray
    scores: np.ndarray


def compare(
    signal: torch.Tensor, slices: torch.Tensor, table: GradientTable, count: int, threshold_sd: float
) -> Residuals:
    """Predict volumes from each other, find outlier slices, and predict again without them.

    Args:
        signal: (t, n) corrected values of diffusion-weighted volumes at n points.
        slices: (t, n) slice of each point in its own volume.
        table: their gradients as the head sees them (b-vectors rotated).
        count: number of slices of a volume.
        threshold_sd: an outlier is so many standard deviations below its prediction.
    """
    matrix = prediction_matrix(table, choose_hyperparameters(signal, table))
    operator = torch.as_tensor(matrix).to(signal)
    prediction, filled = operator @ signal, signal
    for _ in range(2):
        mean, voxels = slice_sums(signal - prediction, slices, count)
        scores = slice_scores(mean, voxels, table.shells)
        lost = at_points(find_outliers(scores, threshold_sd), slices)
        filled = torch.where(lost, prediction, signal)
        prediction = operator @ filled
    return Residuals(filled, prediction, (~lost).to(signal), matrix, scores)


def head_gradients(scan: Scan, motion: Motion, index) -> GradientTable:
    """The table of some volumes in the frame of the head: a turned head sees a turned gradient."""
    return scan.gradients.rotated(motion.rigid[:, :3, :3], scan.affine).take(index)


def slice_numbers(sampled: list[Sampled]) -> torch.Tensor:
    """(t, n) slice of its own volume in which each point is found."""
    return torch.stack([one.moved[SLICE_AXIS].round() for one in sampled])


def coupled_steps(steps: np.ndarray, matrix: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """Steps of all volumes together: predictions move along with their sources; a shell's mean head motion stays.

    Args:
        steps: (t, p) steps of each volume for a fixed prediction.
        matrix: (t, t) how predictions depend on volumes.
        shells: (t,).
    """
    steps = np.linalg.solve(np.eye(len(matrix)) - COUPLING * matrix, steps)
    return np.hstack([without_shell_mean(steps[:, :RIGID], shells), steps[:, RIGID:]])


def without_shell_mean(values: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """Values (t, p) less the mean of their shell: predictions cannot see what a whole shell has in common."""
    values = values.copy()
    for shell in np.unique(shells):
        values[shells == shell] -= values[shells == shell].mean(0)
    return values


def plausible_eddy(motion: Motion, scan: Scan) -> Motion:
    """Draw eddy-current fields towards what gradients can make: a field that is linear in the gradient.

    What remains at zero gradient (per shell) is invisible to predictions and is taken out; of the deviation from the
    linear model a share of ``EDDY_FREEDOM`` stays.
    """
    eddy, gradients, weighted = motion.eddy.copy(), scan.gradients, ~scan.gradients.is_b0
    for shell in np.unique(gradients.shells[weighted]):
        members = gradients.shells == shell
        design = np.column_stack([np.ones(members.sum()), gradients.b_vectors[members]])
        if _determined(design):
            eddy[members] -= np.linalg.lstsq(design, eddy[members], rcond=None)[0][0]
    amplitude = (gradients.b_vectors * np.sqrt(gradients.b_values)[:, None])[weighted]
    if _determined(amplitude):
        linear = amplitude @ np.linalg.lstsq(amplitude, eddy[weighted], rcond=None)[0]
        eddy[weighted] = linear + EDDY_FREEDOM * (eddy[weighted] - linear)
    return Motion(motion.rigid, eddy)


def _determined(design: np.ndarray) -> bool:
    """Whether a regression has more rows than columns, and independent columns."""
    return np.linalg.matrix_rank(design) == design.shape[1] < len(design)


def register_to_predictions(
    scan: Scan, points: Points, motion: Motion, level: Level, threshold_sd: float, eddy_terms: int
) -> Motion:
    """The iterations of one level."""
    index, centre = np.flatnonzero(~scan.gradients.is_b0), grid_centre_mm(scan.shape, scan.affine)
    coefficients = level_coefficients(scan, level, index)
    for _ in range(level.iterations):
        sampled = [volume_motion.sample_volume(scan, points, coefficients[int(one)], one, motion) for one in index]
        signal = torch.stack([one.value for one in sampled])
        found = compare(
            signal, slice_numbers(sampled), head_gradients(scan, motion, index), scan.shape[SLICE_AXIS], threshold_sd
        )
        systems = [
            volume_motion.normal_system(
                volume_motion.parameter_slopes(scan, one, volume, eddy_terms), expected - one.value, weight
            )
            for one, volume, expected, weight in zip(sampled, index, found.prediction, found.weight, strict=True)
        ]
        shells = scan.gradients.shells[index]
        steps = coupled_steps(np.array([system.solve() for system in systems]), found.matrix, shells)
        for volume, step in zip(index, steps, strict=True):
            motion = volume_motion.moved_by(motion, volume, step, centre)
        motion = settle_eddy(motion, scan, systems, eddy_terms) if eddy_terms else motion
    return motion


def settle_eddy(motion: Motion, scan: Scan, systems: list[NormalSystem], terms: int) -> Motion:
    """Make eddy-current fields plausible, and let head motion make up for what that changes.

    Args:
        motion: after a step.
        scan: the series.
        systems: least-squares systems of the weighted volumes.
        terms: free eddy-current terms.
    """
    index, centre = np.flatnonzero(~scan.gradients.is_b0), grid_centre_mm(scan.shape, scan.affine)
    plausible = plausible_eddy(motion, scan)
    change = (plausible.eddy - motion.eddy)[index, :terms]
    rigid = np.array([system.rigid_change(one) for system, one in zip(systems, change, strict=True)])
    for volume, one in zip(index, without_shell_mean(rigid, scan.gradients.shells[index]), strict=True):
        plausible = volume_motion.moved_by(plausible, volume, one, centre)
    return plausible


def corrected_volume(scan: Scan, motion: Motion, index: int) -> torch.Tensor:
    """One volume with everything undone in one cubic interpolation, (x, y, z)."""
    return resample_volumes(
        scan.volumes[index][None],
        scan.affine,
        field_hz=scan.field_hz,
        phase_encoding=scan.phase_encoding[index],
        readout_time_s=scan.readout_time_s[index],
        rigid=motion.rigid[index],
        eddy_hz=volume_motion.eddy_on_grid(scan, motion, index)[None],
        device=str(scan.volumes.device),
    )[0]


def corrected_volumes(scan: Scan, motion: Motion, index=None) -> torch.Tensor:
    """Several volumes (all if none are named) through :func:`corrected_volume`, (t, x, y, z)."""
    index = range(len(scan.gradients)) if index is None else index
    return torch.stack([corrected_volume(scan, motion, int(one)) for one in index])


def align_shells(scan: Scan, motion: Motion, mask: np.ndarray) -> Motion:
    """Bring every shell to b = 0: the lowest to b = 0 itself, each further one to the shell below it."""
    shells = scan.gradients.shells
    inside = ndimage.binary_erosion(mask)
    below = corrected_volumes(scan, motion, np.flatnonzero(scan.gradients.is_b0)).mean(0)
    for shell in np.unique(shells[~scan.gradients.is_b0]):
        members = np.flatnonzero(shells == shell)
        mean = corrected_volumes(scan, motion, members).mean(0)
        change = align_means(below, mean, inside, scan.affine)
        if displacement_voxels(change, scan) > SHELL_DEADBAND_VOXELS:
            motion = _shell_moved(motion, members, change)
            parameters = rigid_parameters(change, grid_centre_mm(scan.shape, scan.affine)).round(3).tolist()
            LOGGER.info("shell b = %.0f s/mm2 moved against the one below by %s (mm, rad)", shell, parameters)
            mean = resample_volumes(mean[None], scan.affine, field_hz=None, phase_encoding="j", readout_time_s=1e-3,
                                    rigid=change, device=str(scan.volumes.device))[0]  # fmt: skip
        below = mean
    return motion


def _shell_moved(motion: Motion, members: np.ndarray, change: np.ndarray) -> Motion:
    rigid = motion.rigid.copy()
    rigid[members] = rigid[members] @ change
    return Motion(rigid, motion.eddy)


def displacement_voxels(rigid: np.ndarray, scan: Scan) -> float:
    """Size of a rigid motion at the brain's surface, in mean voxel edges."""
    parameters = rigid_parameters(rigid, grid_centre_mm(scan.shape, scan.affine))
    return float(np.linalg.norm([*parameters[:3], *(ARM_MM * parameters[3:])]) / scan.voxel_size_mm.mean())


def estimate_motion(
    scan: Scan, mask: np.ndarray, *, voxels: int, threshold_sd: float, eddy_model: str, seed: int
) -> Motion:
    """Motion and eddy currents of every volume, relative to the first b = 0 volume.

    Args:
        scan: the series.
        mask: brain mask on the reference grid.
        voxels: most brain voxels that take part.
        threshold_sd: a slice so many standard deviations below its prediction takes no part.
        eddy_model: ``none``, ``linear`` or ``quadratic``.
        seed: start of the random choice of voxels.
    """
    points = volume_motion.choose_points(scan, mask, voxels, seed)
    motion = start_between_b0(scan, estimate_b0(scan, points))
    for level in LEVELS:
        motion = register_to_predictions(scan, points, motion, level, threshold_sd, EDDY_TERMS[eddy_model])
        motion = align_shells(scan, motion, mask)
    return separate_offset(motion, scan) if EDDY_TERMS[eddy_model] else motion


def separate_offset(motion: Motion, scan: Scan) -> Motion:
    """Split the shift along phase encoding into head motion and the constant of the eddy-current field.

    Both shift the image alike. The part of the translation that is linear in the gradient is an eddy current: it is
    moved from the rigid to the eddy parameters. It is found from the changes between successive volumes, because
    heads drift and gradients do not. The correction itself does not change (to first order).
    """
    weighted = ~scan.gradients.is_b0
    strength = np.sqrt(scan.gradients.b_values / scan.gradients.b_values.max())[:, None]
    gradient = scan.gradients.b_vectors * strength
    shift, per_hz = _phase_shift_mm(motion, scan)
    successive = (
        weighted[1:] & weighted[:-1] & (np.array(scan.phase_encoding[1:]) == np.array(scan.phase_encoding[:-1]))
    )
    change = np.diff(gradient * per_hz[:, None], axis=0)[successive]
    if len(change) < MIN_CHANGES or np.linalg.matrix_rank(change) < 3:
        return motion
    offset_hz = gradient @ np.linalg.lstsq(change, np.diff(shift)[successive], rcond=None)[0]
    rigid, eddy = motion.rigid.copy(), motion.eddy.copy()
    axes = scan.affine[:3, :3] / scan.voxel_size_mm
    for index in np.flatnonzero(weighted):
        axis = volume_motion.phase_axis(scan.phase_encoding[index])[0]
        rigid[index, :3, 3] -= axes[:, axis] * per_hz[index] * offset_hz[index]
    eddy[weighted, OFFSET] += offset_hz[weighted]
    return Motion(rigid, eddy)


def _phase_shift_mm(motion: Motion, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Translation along the phase-encoding axis (mm) and shift per Hz (mm/Hz) of every volume."""
    centre = grid_centre_mm(scan.shape, scan.affine)
    axes = scan.affine[:3, :3] / scan.voxel_size_mm
    shift, per_hz = np.zeros(len(motion.rigid)), np.zeros(len(motion.rigid))
    for index, rigid in enumerate(motion.rigid):
        axis, sign = volume_motion.phase_axis(scan.phase_encoding[index])
        shift[index] = axes[:, axis] @ rigid_parameters(rigid, centre)[:3]
        per_hz[index] = sign * scan.readout_time_s[index] * scan.voxel_size_mm[axis]
    return shift, per_hz
