import numpy as np
import pytest
import torch
from dwi_head import AFFINE, SHAPE, simulate

from scan2map.preprocess.dwi.estimate import corrected_volume
from scan2map.preprocess.dwi.motion import Motion
from scan2map.preprocess.dwi.outliers import (
    at_points,
    find_outliers,
    replace_slices,
    scanner_prediction,
    slice_scores,
    slice_sums,
    worst_of_neighbours,
)


def test_means_and_numbers_of_slices():
    residual = torch.tensor([[1.0, 3.0, -2.0, 7.0]])
    slices = torch.tensor([[0.0, 0.0, 2.0, 5.0]])
    mean, voxels = slice_sums(residual, slices, 3)
    np.testing.assert_allclose(mean, [[2, 0, -2]])
    np.testing.assert_allclose(voxels, [[2, 0, 1]])


def scored(drop):
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 1, (20, 10)) * np.linspace(1, 3, 10)
    mean[4, 6] += drop
    return slice_scores(mean, np.full(mean.shape, 50.0), np.full(20, 1000.0))


def test_lost_signal_is_found_and_noise_is_not():
    assert np.argwhere(find_outliers(scored(-40), 5)).tolist() == [[4, 6]]
    assert not find_outliers(scored(0), 5).any()


def test_too_much_signal_is_no_lost_signal():
    assert not find_outliers(scored(+40), 5).any()


def test_slices_of_few_voxels_and_b0_are_not_judged():
    mean, voxels = np.zeros((8, 4)), np.full((8, 4), 100.0)
    mean[2, 1], mean[3, 2], voxels[2, 1] = -50, -50, 3
    mean += np.random.default_rng(0).normal(0, 1, mean.shape)
    shells = np.array([0, 0, *[1000.0] * 6])
    scores = slice_scores(mean, voxels, shells)
    assert scores[2, 1] == 0
    assert not scores[:2].any()
    assert scores[3, 2] < -10


def test_points_know_their_slice():
    outliers = np.array([[False, True, False]])
    slices = torch.tensor([[1.0, 0.0, -1.0, 3.0, 1.0]])
    assert at_points(outliers, slices).tolist() == [[True, False, False, False, True]]


@pytest.fixture(scope="module")
def moved():
    parameters = np.array([[0.0] * 6, [2.0, -1.5, 2.5, 0.03, -0.03, 0.02]])
    eddy = np.zeros((2, 10))
    eddy[1, :3] = [0.1, -0.1, 0.12]
    return simulate([0, 0], None, parameters, eddy=eddy, phase_encoding=("j", "j-"))


def test_a_prediction_in_the_scanner_is_what_the_scanner_would_measure(moved):
    motion = Motion(moved.rigid, moved.eddy)
    still = simulate([0], None, np.zeros((1, 6)), field=False).scan.volumes[0]
    expected = scanner_prediction(moved.scan, motion, 1, still)
    measured = moved.scan.volumes[1]
    inner = torch.as_tensor(moved.mask)
    error = (expected - measured)[inner].square().mean().sqrt()
    assert error < 0.1 * measured[inner].std()
    assert torch.corrcoef(torch.stack([expected[inner], measured[inner]]))[0, 1] > 0.99


def test_replaced_slices_no_longer_spoil_the_corrected_volume(moved):
    motion = Motion(moved.rigid, moved.eddy)
    still = simulate([0], None, np.zeros((1, 6)), field=False).scan.volumes[0]
    lost = np.zeros(SHAPE[2], dtype=bool)
    lost[11] = True
    intact = corrected_volume(moved.scan, motion, 1)
    damaged = moved.scan.volumes.clone()
    damaged[1, :, :, 11] *= 0.2
    broken = type(moved.scan)(damaged, AFFINE, *(getattr(moved.scan, name) for name in
        ("gradients", "phase_encoding", "readout_time_s", "field_hz")))  # fmt: skip
    repaired = replace_slices(broken, motion, 1, lost, still)
    torch.testing.assert_close(repaired[:, :, ~lost], damaged[1][:, :, ~lost])
    inner = torch.as_tensor(moved.mask)
    spoilt = (corrected_volume(broken, motion, 1) - intact)[inner].abs().mean()
    broken.volumes[1] = repaired
    left = (corrected_volume(broken, motion, 1) - intact)[inner].abs().mean()
    assert left < 0.15 * spoilt


def test_the_worst_of_neighbours_comes_first():
    scores = np.array([[-5.0, -20, -6, 0, -7, -1], [-9, -9, 0, 0, 0, -4.5]])
    outliers = find_outliers(scores, 4)
    assert worst_of_neighbours(outliers, scores).astype(int).tolist() == [[0, 1, 0, 0, 1, 0], [1, 1, 0, 0, 0, 1]]
