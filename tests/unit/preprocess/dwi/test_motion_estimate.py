from dataclasses import replace

import numpy as np
import pytest
import torch
from dwi_head import AFFINE, SHAPE, directions, simulate, true_tensor
from scipy.ndimage import gaussian_filter1d

from scan2map.preprocess.dwi.eddy import OFFSET
from scan2map.preprocess.dwi.estimate import (
    corrected_volumes,
    coupled_steps,
    estimate_b0,
    estimate_motion,
    plausible_eddy,
    separate_offset,
    start_between_b0,
)
from scan2map.preprocess.dwi.gradients import GradientTable, bvec_to_world
from scan2map.preprocess.dwi.motion import Motion, choose_points
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix, rigid_parameters
from scan2map.preprocess.dwi.tensor import decompose, fit_tensor, fractional_anisotropy

CENTRE = grid_centre_mm(SHAPE, AFFINE)
OPTIONS = {"voxels": 8000, "threshold_sd": 4, "eddy_model": "quadratic", "seed": 1}
B_VALUES = np.array(([0] + [1000] * 8) * 3, dtype=float)


def drift(translation_mm, rotation_deg, seed=1):
    """A smooth random walk from rest that reaches the given excursions in every parameter."""
    walk = gaussian_filter1d(np.random.default_rng(seed).normal(size=(len(B_VALUES), 6)).cumsum(0), 1, axis=0)
    walk -= walk[0]
    return walk / np.abs(walk).max(0) * np.array([translation_mm] * 3 + [np.deg2rad(rotation_deg)] * 3)


@pytest.fixture(scope="module")
def moved():
    """Three millimetres and three degrees of drift, eddy currents, a susceptibility field, noise."""
    table = GradientTable(B_VALUES, np.zeros((len(B_VALUES), 3)))
    world = np.zeros((len(B_VALUES), 3))
    world[~table.is_b0] = directions(24, seed=1000)
    eddy = np.zeros((len(B_VALUES), 10))
    eddy[:, :3] = world @ (0.12 * np.random.default_rng(2).normal(size=(3, 3)))
    gradients = GradientTable(B_VALUES, world @ bvec_to_world(AFFINE))
    return simulate(B_VALUES, gradients, drift(3, 3), eddy=eddy, noise=20)


@pytest.fixture(scope="module")
def estimated(moved):
    return estimate_motion(moved.scan, moved.mask, **OPTIONS)


def parameters(motion):
    return np.array([rigid_parameters(rigid, CENTRE) for rigid in motion.rigid])


def test_head_motion_is_found(moved, estimated):
    error = parameters(estimated) - moved.parameters
    assert np.sqrt((error[:, :3] ** 2).mean()) < 0.3
    assert np.rad2deg(np.sqrt((error[:, 3:] ** 2).mean())) < 0.3


def test_eddy_currents_are_found(moved, estimated):
    weighted = B_VALUES > 0
    for term in range(3):
        assert np.corrcoef(estimated.eddy[weighted, term], moved.eddy[weighted, term])[0, 1] > 0.97
    assert not estimated.eddy[~weighted].any()


def fa_error(volumes, gradients, mask):
    maps = fit_tensor(volumes.permute(1, 2, 3, 0).numpy(), mask, gradients, AFFINE)
    truth = fractional_anisotropy(decompose(true_tensor()[mask], 0.0)[0])
    white_matter = truth > 0.2
    return float(np.sqrt(((maps.fa[mask] - truth)[white_matter] ** 2).mean()))


def test_fa_is_nearly_that_of_an_undisturbed_scan(moved, estimated):
    scan, count = moved.scan, len(B_VALUES)
    rotated = scan.gradients.rotated(estimated.rigid[:, :3, :3], AFFINE)
    corrected = fa_error(corrected_volumes(scan, estimated), rotated, moved.mask)
    uncorrected = fa_error(scan.volumes, scan.gradients, moved.mask)
    still = simulate(B_VALUES, scan.gradients, np.zeros((count, 6)), field=False, noise=20).scan.volumes
    ideal = fa_error(still, scan.gradients, moved.mask)
    assert corrected < 0.5 * uncorrected
    assert corrected < 1.3 * ideal


def test_the_same_input_gives_the_same_answer(moved, estimated):
    again = estimate_motion(moved.scan, moved.mask, **OPTIONS)
    np.testing.assert_array_equal(again.rigid, estimated.rigid)
    np.testing.assert_array_equal(again.eddy, estimated.eddy)


def test_correcting_a_head_at_rest_does_little_harm():
    rest = simulate(B_VALUES, None, np.zeros((len(B_VALUES), 6)), field=False, noise=20)
    motion = estimate_motion(rest.scan, rest.mask, **OPTIONS)
    rotated = rest.scan.gradients.rotated(motion.rigid[:, :3, :3], AFFINE)
    corrected = fa_error(corrected_volumes(rest.scan, motion), rotated, rest.mask)
    assert corrected < 1.25 * fa_error(rest.scan.volumes, rest.scan.gradients, rest.mask)


def test_a_dropped_slice_does_not_move_its_volume(moved, estimated):
    volumes = moved.scan.volumes.clone()
    volumes[5, :, :, 8:10] *= 0.1
    damaged = replace(moved.scan, volumes=volumes)
    change = parameters(estimate_motion(damaged, moved.mask, **OPTIONS))[5] - parameters(estimated)[5]
    assert np.abs(change[:3]).max() < 0.3
    assert np.rad2deg(np.abs(change[3:]).max()) < 0.3


def test_b0_images_alone_are_registered():
    truth = np.array([[0] * 6, [3, -2, 2.5, 0.05, -0.04, 0.03], [-2, 3, 1, -0.03, 0.02, -0.05]], dtype=float)
    moved = simulate([0, 0, 0], None, truth, noise=20)
    found = parameters(estimate_b0(moved.scan, choose_points(moved.scan, moved.mask, 8000, 0)))
    np.testing.assert_allclose(found[:, :3], truth[:, :3], atol=0.1)
    np.testing.assert_allclose(found[:, 3:], truth[:, 3:], atol=np.deg2rad(0.1))


def test_volumes_start_between_their_b0(moved):
    motion = Motion.none(len(B_VALUES))
    motion.rigid[9] = rigid_matrix([9, 0, 0, 0, 0, 0.09], CENTRE)
    start = parameters(start_between_b0(moved.scan, motion))
    np.testing.assert_allclose(start[3], [3, 0, 0, 0, 0, 0.03], atol=1e-9)
    np.testing.assert_allclose(start[18], 0, atol=1e-9)


def test_coupled_steps_leave_the_mean_motion_of_a_shell():
    rng = np.random.default_rng(0)
    steps, shells = rng.normal(size=(6, 9)), np.array([1000, 1000, 1000, 2000, 2000, 2000.0])
    coupled = coupled_steps(steps, np.zeros((6, 6)), shells)
    np.testing.assert_allclose(coupled[:3, :6].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(coupled[:, 6:], steps[:, 6:])


def table_scan(moved, ways=None):
    return replace(moved.scan, phase_encoding=ways or moved.scan.phase_encoding)


def test_fields_linear_in_the_gradient_are_believed_and_common_ones_are_not(moved):
    weighted = B_VALUES > 0
    gradient = moved.scan.gradients.b_vectors * np.sqrt(B_VALUES / 1000)[:, None]
    linear = np.zeros((len(B_VALUES), 10))
    linear[:, :3] = gradient @ np.random.default_rng(0).normal(size=(3, 3))
    rigid = Motion.none(len(B_VALUES)).rigid
    kept = plausible_eddy(Motion(rigid, linear), moved.scan).eddy
    np.testing.assert_allclose(kept, linear, atol=1e-9)
    common = np.zeros_like(linear)
    common[weighted, 4] = 3.0
    np.testing.assert_allclose(plausible_eddy(Motion(rigid, common), moved.scan).eddy, 0, atol=1e-9)


@pytest.mark.parametrize("way", ["j", "j-"])
def test_the_constant_field_is_separated_from_head_motion(moved, way):
    scan = table_scan(moved, (way,) * len(B_VALUES))
    offset = 8.0 * scan.gradients.b_vectors[:, 0]
    walk = drift(1.0, 1.0)
    rigid = np.array([rigid_matrix(one, CENTRE) for one in walk])
    sign = -1 if way == "j-" else 1
    mixed = rigid.copy()
    mixed[:, 1, 3] += sign * offset * scan.readout_time_s[0] * 4.0  # the second voxel axis is world y, 4 mm
    found = separate_offset(Motion(mixed, np.zeros((len(B_VALUES), 10))), scan)
    weighted = B_VALUES > 0
    assert np.corrcoef(found.eddy[weighted, OFFSET], offset[weighted])[0, 1] > 0.95
    before, after = (parameters(Motion(part, None))[:, 1] - walk[:, 1] for part in (mixed, found.rigid))
    assert np.sqrt((after**2).mean()) < 0.4 * np.sqrt((before**2).mean())


def test_separation_does_not_change_the_correction(moved, estimated):
    far = Motion(estimated.rigid, estimated.eddy)
    again = separate_offset(far, moved.scan)
    before, after = (corrected_volumes(moved.scan, one, [4])[0] for one in (far, again))
    inner = torch.as_tensor(moved.mask)
    assert (before - after)[inner].abs().mean() < 0.02 * before[inner].mean()
