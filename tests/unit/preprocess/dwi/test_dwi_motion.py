import numpy as np
import pytest
import torch
from dwi_head import AFFINE, SHAPE, simulate

from scan2map.preprocess.dwi.interpolation import spline_coefficients
from scan2map.preprocess.dwi.motion import (
    Motion,
    choose_points,
    moved_by,
    normal_system,
    parameter_slopes,
    sample_volume,
)
from scan2map.preprocess.dwi.resample import resample_volumes
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix

CENTRE = grid_centre_mm(SHAPE, AFFINE)
# Eddy coefficients: Hz/mm, Hz/mm2, Hz.
EDDY = np.array([0.1, -0.08, 0.12, 8e-4, -6e-4, 5e-4, 7e-4, -5e-4, 6e-4, 4.0])


@pytest.fixture(scope="module")
def head():
    parameters = np.array([[0, 0, 0, 0, 0, 0], [1.5, -1.0, 0.8, 0.02, -0.015, 0.01]])
    return simulate([0, 0], None, parameters, eddy=np.stack([np.zeros(10), EDDY]), phase_encoding=("j", "j-"))


def sampled(head, points, motion):
    return sample_volume(head.scan, points, spline_coefficients(head.scan.volumes[1]), 1, motion)


def test_points_are_mask_voxels_and_the_same_for_the_same_seed(head):
    first, second = (choose_points(head.scan, head.mask, 500, seed=3) for _ in range(2))
    index = first.voxels.long().numpy()
    assert head.mask[tuple(index)].all()
    assert index.shape == (3, 500)
    torch.testing.assert_close(first.voxels, second.voxels)


def test_values_at_points_equal_those_of_the_whole_volume(head):
    motion = Motion(head.rigid, head.eddy)
    points = choose_points(head.scan, head.mask, 500, seed=0)
    from scan2map.preprocess.dwi.motion import eddy_on_grid

    whole = resample_volumes(
        head.scan.volumes[1:],
        AFFINE,
        field_hz=head.scan.field_hz,
        phase_encoding="j-",
        readout_time_s=head.scan.readout_time_s[1],
        rigid=head.rigid[1],
        eddy_hz=eddy_on_grid(head.scan, motion, 1)[None],
    )[0]
    index = tuple(points.voxels.long())
    # Here the Jacobian is that of the polynomial, there a finite difference.
    torch.testing.assert_close(sampled(head, points, motion).value, whole[index], rtol=0.02, atol=5.0)


def test_slopes_are_the_derivatives_of_the_corrected_values(head):
    points = choose_points(head.scan, head.mask, 800, seed=1)
    start = Motion(head.rigid, head.eddy)
    slopes = parameter_slopes(head.scan, sampled(head, points, start), 1, 9).numpy()
    sizes = np.array([*[0.05] * 3, *[1e-3] * 3, *[5e-3] * 3, *[5e-5] * 6])
    for parameter, size in enumerate(sizes):
        change = np.zeros(15)
        change[parameter] = size
        ahead, behind = (
            sampled(head, points, moved_by(start, 1, sign * change, CENTRE)).value.numpy() for sign in (1, -1)
        )
        numeric = (ahead - behind) / (2 * size)
        # Rotations also turn the eddy field by a little, which the slopes leave out.
        assert np.corrcoef(numeric, slopes[parameter])[0, 1] > 0.98, parameter
        assert np.linalg.norm(slopes[parameter]) == pytest.approx(np.linalg.norm(numeric), rel=0.05), parameter


def test_gauss_newton_solves_a_linear_problem_of_mixed_scales():
    rng = np.random.default_rng(0)
    slopes = torch.tensor(rng.normal(size=(4, 300)) * np.array([[1], [1e3], [1e-3], [10]]))
    wanted = np.array([0.3, -2e-3, 500.0, 0.01])
    residual = torch.as_tensor(wanted) @ slopes
    weight = torch.tensor(rng.integers(0, 2, 300).astype(float))
    np.testing.assert_allclose(normal_system(slopes, residual, weight).solve(), wanted, rtol=1e-5)


def test_points_without_weight_do_not_count():
    slopes = torch.ones(1, 10, dtype=torch.float64)
    residual = torch.tensor([1.0] * 5 + [100.0] * 5, dtype=torch.float64)
    weight = torch.tensor([1.0] * 5 + [0.0] * 5, dtype=torch.float64)
    np.testing.assert_allclose(normal_system(slopes, residual, weight).solve(), [1.0], rtol=1e-6)


def test_head_motion_makes_up_for_a_changed_eddy_field():
    """What is left of the change is orthogonal to the rigid slopes, as after a regression on them."""
    slopes = torch.tensor(np.random.default_rng(0).normal(size=(8, 200)))
    change = np.array([0.5, -2.0])
    rigid = normal_system(slopes, torch.zeros(200)).rigid_change(change)
    left = np.r_[rigid, change] @ slopes.numpy()
    np.testing.assert_allclose(slopes.numpy()[:6] @ left, 0, atol=1e-5)
    assert np.abs(rigid).max() > 1e-3


def test_changes_compose_from_the_left():
    motion = moved_by(Motion.none(2), 1, np.array([1.0, 0, 0, 0, 0, 0]), CENTRE)
    motion = moved_by(motion, 1, np.array([0, 0, 0, 0, 0, np.pi / 2, 0.5]), CENTRE)
    np.testing.assert_allclose(
        motion.rigid[1], rigid_matrix([0, 0, 0, 0, 0, np.pi / 2], CENTRE) @ rigid_matrix([1, 0, 0, 0, 0, 0], CENTRE)
    )
    assert motion.eddy[1, 0] == 0.5
    np.testing.assert_array_equal(motion.rigid[0], np.eye(4))


def test_true_parameters_undo_the_disturbance(head):
    points = choose_points(head.scan, head.mask, 3000, seed=2)
    still = sample_volume(head.scan, points, spline_coefficients(head.scan.volumes[0]), 0, Motion.none(2))
    errors = {
        name: (sampled(head, points, motion).value - still.value).square().mean().sqrt()
        for name, motion in (("none", Motion.none(2)), ("true", Motion(head.rigid, head.eddy)))
    }
    assert errors["true"] < 0.2 * errors["none"]
