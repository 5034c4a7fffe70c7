"""Diffusion series of the ball: signals, turned gradients, truth, noise, dropped slices."""

import dataclasses

import numpy as np
import pytest
from nested_balls import FIBRE

from scan2map.phantom.acquisition import dwi
from scan2map.phantom.acquisition.gradients import GradientTable, multi_shell_table
from scan2map.phantom.deformation import rigid_matrix
from scan2map.physics.diffusion import axially_symmetric_tensor, gaussian_mixture_signal, rotate_tensor, tensor_signal

TURN = rigid_matrix([2, -3, 1], [25, -15, 40], (0, 0, 0))
TENSOR = axially_symmetric_tensor(FIBRE, np.array(1.6e-3), np.array(0.4e-3))


def series_of(scan, description):
    return next(one for one in scan.series if one.description == description)


def truth_of(scan, suffix, **entities):
    return next(one.data for one in scan.images if one.suffix == suffix and one.entities == entities)


def middle(image):
    return image[tuple(n // 2 for n in image.shape[:3])]


def test_the_middle_voxel_shows_the_tensor_of_a_turned_head(make_scanner):
    scanner = make_scanner(pose=TURN)
    series = series_of(dwi.acquire(scanner), "dwi_dir-AP")
    turned = rotate_tensor(TENSOR, TURN[:3, :3])
    s0 = 4000 * 0.7 * np.exp(-scanner.settings["dwi"]["echo_time_s"] / 0.07)
    expected = tensor_signal(np.array(s0), turned, series.b_values_s_per_mm2, series.b_vectors)
    assert middle(series.data) == pytest.approx(expected, rel=1e-3)


def test_each_volume_sees_the_gradient_in_the_axes_of_the_moved_head(make_scanner):
    settings = {"motion": {"enabled": True, "rotation_rms_deg": 10.0, "between_series_deg": 10.0}}
    scan = dwi.acquire(make_scanner(settings))
    series, record = series_of(scan, "dwi_dir-AP"), scan.parameters["dwi_dir-AP"]
    rotations = np.array(record["head_to_world"])[:, :3, :3]
    gradients = np.einsum("nji,nj->ni", rotations, series.b_vectors)
    s0 = 4000 * 0.7 * np.exp(-0.08 / 0.07)
    expected = tensor_signal(np.array(s0), TENSOR, series.b_values_s_per_mm2, gradients)
    unrotated = tensor_signal(np.array(s0), TENSOR, series.b_values_s_per_mm2, series.b_vectors)
    assert middle(series.data) == pytest.approx(expected, rel=1e-3)
    assert np.abs(expected / unrotated - 1).max() > 0.05


def test_true_tensor_is_that_of_the_head_where_it_lies(make_scanner):
    scan = dwi.acquire(make_scanner(pose=TURN))
    expected = rotate_tensor(TENSOR, TURN[:3, :3])
    assert middle(truth_of(scan, "dwimap", model="DTI", param="tensor")) == pytest.approx(expected, rel=1e-3)
    assert middle(truth_of(scan, "dwimap", model="cumulant", param="MD")) == pytest.approx(0.8e-3, rel=1e-3)
    fa = np.sqrt(1.5) * np.linalg.norm([0.8, -0.4, -0.4]) / np.linalg.norm([1.6, 0.4, 0.4])
    assert middle(truth_of(scan, "dwimap", model="DTI", param="FA")) == pytest.approx(fa, rel=1e-3)


def test_disturbances_change_the_scan_and_leave_the_truth(make_scanner):
    still = dwi.acquire(make_scanner())
    disturbed = dwi.acquire(make_scanner({"noise": {"enabled": True}, "eddy": {"enabled": True}}))
    assert not np.allclose(series_of(still, "dwi_dir-AP").data, series_of(disturbed, "dwi_dir-AP").data)
    for first, second in zip(still.images, disturbed.images, strict=True):
        assert np.array_equal(first.data, second.data)


def test_without_a_field_opposed_encodings_agree(make_scanner):
    scan = dwi.acquire(make_scanner())
    forth, back = series_of(scan, "dwi_dir-AP"), series_of(scan, "dwi_b0_dir-PA")
    assert (forth.phase_encoding, back.phase_encoding) == ("j-", "j")
    assert back.data[..., 0] == pytest.approx(forth.data[..., 0], rel=1e-5)


def test_a_field_moves_opposed_encodings_apart_and_is_the_true_field(make_scanner, with_field):
    subject = with_field(lambda position: 40 + 0 * position[..., 0])
    scan = dwi.acquire(make_scanner({"susceptibility": {"enabled": True}}, subject=subject))
    index = np.arange(22)
    centres = []
    for name in ("dwi_dir-AP", "dwi_b0_dir-PA"):
        lines = series_of(scan, name).data[..., 0].sum((0, 2))
        centres.append((lines * index).sum() / lines.sum())
    assert centres[1] - centres[0] == pytest.approx(2 * 40 * 0.05, abs=0.05)
    assert middle(truth_of(scan, "fieldmap", desc="truth")) == pytest.approx(40)


def test_noise_has_the_asked_ratio_to_white_matter(make_scanner):
    noisy = make_scanner({"noise": {"enabled": True}, "dwi": {"snr": 20.0}})
    scan, still = dwi.acquire(noisy), dwi.acquire(make_scanner())
    signal = middle(series_of(still, "dwi_dir-AP").data)[0]
    sigma = scan.parameters["dwi_dir-AP"]["noise_sigma"]
    assert sigma == pytest.approx(signal / 20, rel=2e-2)
    corner = series_of(scan, "dwi_dir-AP").data[:4, :4]  # beyond the head
    assert corner.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.03)  # Rayleigh


def test_dropped_slices_are_recorded_and_spare_the_unweighted_volumes(make_scanner):
    scan = dwi.acquire(make_scanner({"dropout": {"slice_probability": 0.2, "remaining_signal": 0.25}}))
    whole = series_of(dwi.acquire(make_scanner()), "dwi_dir-AP")
    spoiled = series_of(scan, "dwi_dir-AP")
    dropped = np.array(scan.parameters["dwi_dir-AP"]["dropped_slices"])
    assert len(dropped) > 5
    assert (whole.b_values_s_per_mm2[dropped[:, 0]] > 0).all()
    for volume, slice_index in dropped:
        expected = 0.25 * whole.data[:, :, slice_index, volume]
        assert spoiled.data[:, :, slice_index, volume] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_motion_table_has_a_row_per_volume_and_starts_at_rest(make_scanner):
    scan = dwi.acquire(make_scanner({"motion": {"enabled": True}}))
    table = multi_shell_table(make_scanner().settings["dwi"]["shells"], 2)
    assert len(scan.motion) == len(table.b_values) + 2
    assert [scan.motion[0][name] for name in dwi.MOTION_COLUMNS] == [0] * 6
    assert scan.motion[-1]["series"] == "dwi_b0_dir-PA"
    assert any(scan.motion[-1][name] != 0 for name in dwi.MOTION_COLUMNS)


def test_compartments_that_vary_in_space_give_the_mixture_signal(ball):
    rng = np.random.default_rng(8)
    shape = ball.field_hz.shape
    parts = [
        dataclasses.replace(
            part,
            fraction=rng.random(shape).astype(np.float32),
            tensor=rng.random((*shape, 6)).astype(np.float32) * 1e-4,
        )
        for part in ball.compartments()[:2]
    ]
    head = dwi.DiffusionHead(dataclasses.replace(ball, compartment_list=parts), 0.08)
    vector = np.array([0.0, 0.6, 0.8])
    weights = [4000 * ball.pd[part.tissue] * np.exp(-0.08 / ball.t2_s[part.tissue]) for part in parts]
    signals = [weight * part.fraction for weight, part in zip(weights, parts, strict=True)]
    expected = gaussian_mixture_signal(signals, [part.tensor for part in parts], np.array([2000.0]), vector[None])
    assert head.signal(2000.0, vector).numpy() == pytest.approx(expected[..., 0], rel=1e-4)


def test_fit_recovers_the_tensor_and_leaves_the_rest_empty():
    table = multi_shell_table([{"b_value_s_per_mm2": 1000, "directions": 12}], 2)
    signal = tensor_signal(np.full((2, 1, 1), 500.0), np.broadcast_to(TENSOR, (2, 1, 1, 6)), *table)
    mask = np.array([True, False]).reshape(2, 1, 1)
    fitted = dwi.fit_tensors(signal, mask, GradientTable(*table))
    assert fitted[0, 0, 0] == pytest.approx(TENSOR, rel=1e-4, abs=1e-9)
    assert not fitted[1].any()
