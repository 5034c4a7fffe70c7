"""The one resampling against SciPy, closed forms, and an independent scanner that moves spins (epi_head)."""

import epi_head
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scan2map.errors import DataError
from scan2map.preprocess.dwi.interpolation import sample, spline_coefficients
from scan2map.preprocess.dwi.phase_encoding import phase_axis
from scan2map.preprocess.dwi.resample import gradient, resample_volume, resample_volumes
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix, rigid_parameters

RANDOM = np.random.default_rng(3)
SHAPE = (10, 12, 9)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [10, -5, 20], degrees=True).as_matrix() @ np.diag([-2.0, 2.5, 3.0])
OBLIQUE[:3, 3] = (30, -20, 5)


def smooth_volume(shape=SHAPE):
    return ndimage.gaussian_filter(RANDOM.random(shape), 1.5) + 1


@pytest.mark.parametrize("order", [1, 3])
def test_interpolation_agrees_with_scipy(order):
    volume = RANDOM.random(SHAPE)
    points = RANDOM.random((3, 500)) * (np.array(SHAPE) - 1)[:, None]
    expected = ndimage.map_coordinates(volume, points, order=order, mode="mirror")
    coefficients = torch.as_tensor(volume)
    coefficients = spline_coefficients(coefficients) if order == 3 else coefficients
    assert np.allclose(sample(coefficients, torch.as_tensor(points), order=order), expected, atol=1e-10)


def test_interpolated_gradient_is_the_slope_of_the_values():
    coefficients = spline_coefficients(torch.as_tensor(RANDOM.random(SHAPE)))
    points = torch.as_tensor(1 + RANDOM.random((3, 50)) * (np.array(SHAPE) - 3)[:, None])
    _, slope = sample(coefficients, points, gradient=True)
    for axis in range(3):
        step = torch.zeros(3, 1, dtype=torch.float64)
        step[axis] = 1e-5
        expected = (sample(coefficients, points + step) - sample(coefficients, points - step)) / 2e-5
        assert torch.allclose(slope[axis], expected, atol=1e-6)


def test_no_motion_no_field_is_the_identity():
    volume = RANDOM.random(SHAPE).astype(np.float32)
    for order in (1, 3):
        result = resample_volume(volume, OBLIQUE, field_hz=None, phase_encoding="j", readout_time_s=0.05, order=order)
        assert np.allclose(result, volume, atol=1e-5)


@pytest.mark.parametrize(("direction", "axis", "sign"), [("j", 1, 1), ("j-", 1, -1), ("i", 0, 1), ("i-", 0, -1)])
def test_a_constant_field_shifts_by_its_voxels(direction, axis, sign):
    """40 Hz at 0.05 s: signal of true position y lies at y + 2 for j (TOPUP's convention), at y - 2 for j-."""
    truth = RANDOM.random(SHAPE)
    measured = np.roll(truth, 2 * sign, axis)
    field = np.full(SHAPE, 40.0)
    result = resample_volume(measured, OBLIQUE, field_hz=field, phase_encoding=direction, readout_time_s=0.05)
    inside = [slice(None)] * 3
    inside[axis] = slice(2, -2)
    assert np.allclose(result[tuple(inside)], truth[tuple(inside)], atol=1e-4)


def test_jacobian_restores_the_intensity_of_a_stretched_image():
    """A linear field of 2 Hz per voxel at 0.05 s stretches by 1.1, so a uniform image has measured 1 / 1.1."""
    field = np.tile(2.0 * np.arange(SHAPE[1])[None, :, None], (SHAPE[0], 1, SHAPE[2]))
    options = {"field_hz": field, "phase_encoding": "j", "readout_time_s": 0.05}
    result = resample_volume(np.full(SHAPE, 1 / 1.1), OBLIQUE, **options)
    assert np.allclose(result, 1, atol=1e-5)
    assert np.allclose(resample_volume(np.full(SHAPE, 1 / 1.1), OBLIQUE, **options, jacobian=False), 1 / 1.1, atol=1e-5)


def test_gradient_is_exact_for_cubics_up_to_the_edge():
    x, y, z = np.meshgrid(*[np.arange(n, dtype=float) for n in SHAPE], indexing="ij")
    field = torch.as_tensor(x**3 - 2 * x * y + 0.5 * z**2 * y)
    expected = np.stack([3 * x**2 - 2 * y, -2 * x + 0.5 * z**2, z * y])
    np.testing.assert_allclose(gradient(field).numpy(), expected, atol=1e-9)
    assert not gradient(torch.ones(3, 4, 1))[2].any()


def test_gradient_follows_ripples_of_a_few_voxels():
    places = torch.arange(40.0, dtype=torch.float64)
    for wavelength in (4, 6, 10):
        k = 2 * np.pi / wavelength
        slope = gradient(torch.sin(k * places)[None, :, None])[1, 0, 8:-8, 0]
        exact = k * torch.cos(k * places)[8:-8]
        assert (slope - exact).abs().max() < 0.05 * k  # central differences lose 36, 17 and 6 % of it


def test_rigid_motion_agrees_with_scipy():
    volume = smooth_volume()
    matrix = rigid_matrix([1.0, -2.0, 0.5, 0.1, -0.05, 0.08], grid_centre_mm(SHAPE, OBLIQUE))
    index = np.linalg.inv(OBLIQUE) @ matrix @ OBLIQUE
    expected = ndimage.affine_transform(volume, index[:3, :3], index[:3, 3], order=3, mode="mirror")
    result = resample_volume(
        volume, OBLIQUE, field_hz=None, phase_encoding="j", readout_time_s=0.05, rigid=matrix, dtype=torch.float64
    )
    assert np.allclose(result[3:-3, 3:-3, 3:-3], expected[3:-3, 3:-3, 3:-3], atol=1e-6)


def test_moved_and_distorted_head_is_restored():
    """An independent scanner moves the head and its spins; the truth undoes both in one step."""
    moved = epi_head.rigid([2.0, 1.0, -1.5], [3.0, -2.0, 4.0])
    scan = epi_head.simulate(("j", "j"), (0.05, 0.05), shift_voxels=2, snr=None, motions=[None, moved])
    still = epi_head.to_voxels(epi_head.head()[0])
    inside = epi_head.interior(scan)
    for image, rigid in zip(scan.images, (np.eye(4), moved), strict=True):
        result = resample_volume(
            image, scan.affine, field_hz=scan.field_hz, phase_encoding="j", readout_time_s=0.05, rigid=rigid
        )
        before, after = (np.corrcoef(values[inside], still[inside])[0, 1] for values in (image, result))
        assert after > 0.96
        assert 1 - after < (1 - before) / 4
        assert result[inside].mean() == pytest.approx(still[inside].mean(), rel=0.01)


def test_eddy_field_adds_to_the_susceptibility_field():
    volumes = np.stack([smooth_volume(), smooth_volume()])
    field, eddy = RANDOM.random(SHAPE) * 5, RANDOM.random((2, *SHAPE)) * 5
    options = {"phase_encoding": "j-", "readout_time_s": 0.05}
    both = resample_volumes(volumes, OBLIQUE, field_hz=field, eddy_hz=eddy, **options)
    for index in range(2):
        single = resample_volume(volumes[index], OBLIQUE, field_hz=field + eddy[index], **options)
        assert np.allclose(both[index], single, atol=1e-5)


def test_outside_the_field_of_view():
    volume, field = np.ones(SHAPE), np.full(SHAPE, 60.0)
    options = {"field_hz": field, "phase_encoding": "j", "readout_time_s": 0.05}
    edge, zero = (resample_volume(volume, OBLIQUE, outside=way, **options) for way in ("edge", "zero"))
    assert np.allclose(edge, 1)
    assert np.allclose(zero[:, :-3], 1)
    assert np.allclose(zero[:, -3:], 0)


def test_single_slice():
    volume = RANDOM.random((8, 8, 1))
    result = resample_volume(volume, np.eye(4), field_hz=np.zeros((8, 8, 1)), phase_encoding="j", readout_time_s=0.05)
    assert np.allclose(result, volume, atol=1e-5)


def test_rigid_parameters_round_trip_and_match_scipy():
    parameters, centre = np.array([1.0, 2.0, -3.0, 0.2, -0.1, 0.3]), np.array([5.0, -7.0, 9.0])
    matrix = rigid_matrix(parameters, centre)
    assert np.allclose(matrix[:3, :3], Rotation.from_euler("XYZ", parameters[3:]).as_matrix())
    assert np.allclose(matrix @ [*centre, 1], [*(centre + parameters[:3]), 1])
    assert np.allclose(rigid_parameters(matrix, centre), parameters)


@pytest.mark.parametrize("direction", ["y", "", "j+", "AP", None])
def test_unknown_direction(direction):
    with pytest.raises(DataError, match="phase-encoding direction"):
        phase_axis(direction)


def test_wrong_number_of_values():
    with pytest.raises(DataError, match="one value per volume"):
        resample_volumes(np.ones((3, *SHAPE)), OBLIQUE, field_hz=None, phase_encoding=["j", "j-"], readout_time_s=0.05)
