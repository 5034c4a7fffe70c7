"""Receive field, eddy currents and echo-planar distortion of the ball."""

import numpy as np
import pytest
import torch

from scan2map.phantom.acquisition import distortion, epi

PROTOCOL = {"total_readout_time_s": 0.05}
ON = {"enabled": True, "linear_hz": 20.0, "quadratic_hz": 5.0}


def generator():
    return np.random.default_rng(3)


def readout(scanner, direction="j"):
    return epi.readout(scanner, scanner.sampler(scanner.settings["dwi"]), PROTOCOL, direction)


def white_matter(scanner):
    return torch.from_numpy(scanner.subject.fractions["wm"])


def centre(image):
    index = np.arange(image.shape[1])
    return float((image.sum((0, 2)) * index).sum() / image.sum())


@pytest.mark.parametrize(("direction", "sign"), [("j", 1), ("j-", -1)])
def test_a_uniform_field_shifts_the_head_along_the_phase_encoding(make_scanner, with_field, direction, sign):
    subject = with_field(lambda position: 30 + 0 * position[..., 0])
    scanner = make_scanner({"susceptibility": {"enabled": True}}, subject=subject)
    plain = readout(make_scanner()).measure(white_matter(scanner), np.eye(4)).numpy()
    moved = readout(scanner, direction).measure(white_matter(scanner), np.eye(4)).numpy()
    assert centre(moved) - centre(plain) == pytest.approx(sign * 30 * 0.05, abs=0.02)
    assert moved.sum() == pytest.approx(plain.sum(), rel=1e-3)


def test_a_field_gradient_stretches_and_dims(make_scanner, with_field):
    # 1 Hz/mm · 6 mm/voxel · 0.05 s = 0.3 voxel per voxel: 1.3 times as long, 1/1.3 as bright
    subject = with_field(lambda position: position[..., 1])
    scanner = make_scanner({"susceptibility": {"enabled": True}}, subject=subject)
    image = readout(scanner).measure(white_matter(scanner), np.eye(4)).numpy()
    middle = tuple(n // 2 for n in image.shape)
    assert image[middle] == pytest.approx(1 / 1.3, rel=1e-2)


def test_the_field_moves_with_the_head(make_scanner, with_field):
    subject = with_field(lambda position: position[..., 1])
    scanner = make_scanner({"susceptibility": {"enabled": True}}, subject=subject)
    place = np.eye(4)
    place[1, 3] = 12.0  # two voxels
    still, moved = (readout(scanner).measure(white_matter(scanner), where).numpy() for where in (np.eye(4), place))
    assert moved[:, 4:-2] == pytest.approx(still[:, 2:-4], abs=1e-4)


def test_without_field_the_readout_is_the_sampler(make_scanner):
    scanner = make_scanner()
    sampler = scanner.sampler(scanner.settings["dwi"])
    expected = sampler.read_array(scanner.subject.fractions["wm"], np.eye(4))
    assert readout(scanner).measure(white_matter(scanner), np.eye(4)).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_receive_field_multiplies_before_the_distortion(make_scanner):
    scanner = make_scanner({"receive_field_strength": 0.3})
    sampler = scanner.sampler(scanner.settings["dwi"])
    flat = sampler.read_array(scanner.subject.fractions["wm"], np.eye(4))
    image = readout(scanner).measure(white_matter(scanner), np.eye(4)).numpy()
    inside = flat > 0.999
    assert image[inside] == pytest.approx(scanner.sensitivity(sampler.grid.world_mm())[inside], rel=1e-2)
    assert np.ptp(image[inside]) > 0.01


def test_eddy_fields_grow_with_the_root_of_b_and_follow_the_gradient():
    vectors = np.array([[1.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 0]])
    field = distortion.eddy_coefficients([1000, 4000, 1000, 0], vectors, ON, generator())
    assert field[1] == pytest.approx(2 * field[0])
    assert field[2] == pytest.approx(-field[0])
    assert not field[3].any()
    assert np.abs(field[0]).max() > 1


def test_an_eddy_gradient_along_readout_shears_the_image(make_scanner):
    scanner = make_scanner()
    coefficients = np.zeros(10)
    coefficients[1] = 200.0  # Hz at 100 mm along x: 2 Hz/mm · 6 mm · 0.05 s = 0.6 voxel per column
    image = readout(scanner).measure(white_matter(scanner), np.eye(4), coefficients).numpy()
    left, right = image.shape[0] // 2 - 3, image.shape[0] // 2 + 2  # mirror columns, five apart
    shear = centre(image[right : right + 1]) - centre(image[left : left + 1])
    assert shear == pytest.approx(5 * 0.6, abs=0.05)


def test_spatial_terms_are_those_that_are_named():
    x, y, z = 0.5, -0.2, 0.8
    values = dict(zip(distortion.EDDY_TERMS, distortion.spatial_basis([50, -20, 80]), strict=True))
    expected = {
        "1": 1,
        "x": x,
        "y": y,
        "z": z,
        "xx": x * x,
        "yy": y * y,
        "zz": z * z,
        "xy": x * y,
        "xz": x * z,
        "yz": y * z,
    }
    assert values == pytest.approx(expected)


def test_no_receive_field_at_zero_strength():
    assert distortion.receive_field(np.random.default_rng(0).normal(0, 50, (5, 3)), 0.0, generator()) == pytest.approx(
        1
    )


def test_slice_times_interleave_or_ascend():
    assert epi.interleaved_slice_times(5, 1.0).tolist() == [0.0, 0.6, 0.2, 0.8, 0.4]
    assert epi.ascending_slice_times(3, 0.038).tolist() == [0.0, 0.038, 0.076]


def test_dropped_slices_occur_as_often_as_asked_and_keep_the_asked_share():
    kept = epi.dropped_slices(200, 50, {"slice_probability": 0.1, "remaining_signal": 0.3}, generator())
    assert (kept < 1).mean() == pytest.approx(0.1, abs=0.01)
    assert np.unique(kept) == pytest.approx([0.3, 1.0])
