"""Tensor errors against cases that can be worked out by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scan2map.physics.diffusion import axially_symmetric_tensor, rotate_tensor
from scan2map.systems.bssfp_dti import metrics

STICK = axially_symmetric_tensor(np.array([[0.0, 0.6, 0.8]]), np.array([1.7]), np.array([0.3]))


def errors(predicted, true, fa=0.2):
    pair = metrics.decompose(predicted), metrics.decompose(true)
    return {name: value for name, value, _ in metrics.tensor_errors(*pair, fa)}


def test_a_turned_tensor_is_off_by_its_angle_alone():
    turned = rotate_tensor(STICK, Rotation.from_rotvec([np.radians(12), 0, 0]).as_matrix())
    found = errors(turned, STICK)
    assert found["axial_angle"] == pytest.approx(12, abs=1e-6)
    assert found["inclination_error"] == pytest.approx(12, abs=1e-6)
    assert found["fa_relative_error"] == pytest.approx(0, abs=1e-12)


def test_a_swollen_tensor_is_off_in_size_alone():
    found = errors(1.1 * STICK, STICK)
    assert found["md_relative_error"] == pytest.approx(0.1)
    assert found["ad_relative_error"] == pytest.approx(0.1)
    assert found["fa_relative_error"] == pytest.approx(0, abs=1e-12)
    assert found["axial_angle"] == pytest.approx(0, abs=1e-5)
    assert found["log_euclidean_error"] == pytest.approx(np.sqrt(3) * np.log(1.1))
    assert found["frobenius_error"] == pytest.approx(0.1 * np.sqrt(1.7**2 + 2 * 0.3**2))


def test_a_region_has_the_errors_of_its_own_voxels():
    predicted, true = np.concatenate([1.1 * STICK, STICK]), np.concatenate([STICK, STICK])
    pair = [metrics.decompose(tensors).within(np.array([True, False])) for tensors in (predicted, true)]
    found = {name: value for name, value, _ in metrics.tensor_errors(*pair, 0.2)}
    assert found["md_relative_error"] == pytest.approx(0.1)
    assert found["frobenius_error"] == pytest.approx(errors(1.1 * STICK, STICK)["frobenius_error"])


def test_directions_without_sign_and_by_chance():
    rng = np.random.default_rng(1)
    axes = rng.standard_normal((2, 40_000, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    assert np.median(metrics.axial_angle_deg(*axes)) == pytest.approx(60, abs=0.5)
    assert metrics.axial_angle_deg(axes[0], -axes[0]) == pytest.approx(0, abs=1e-5)


def test_azimuths_fold():
    assert metrics.folded(np.array([178.0, -178, 90, 181])) == pytest.approx([2, 2, 90, 1])
    inclination, azimuth = metrics.inclination_azimuth_deg(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0, -1]]))
    assert inclination == pytest.approx([90, 90, 0])
    assert azimuth[:2] % 180 == pytest.approx([0, 0])


def test_the_mean_tensor_has_an_nrmse_of_one():
    rng = np.random.default_rng(3)
    true = rng.standard_normal((500, 6))
    assert metrics.nrmse(np.broadcast_to(true.mean(0), true.shape), true) == pytest.approx(1)


def test_the_documents_scaling_makes_errors_small():
    """The same off-diagonal error: a third of the value, a few percent once a constant has been added to it."""
    true = np.array([[1.0, 0.03, 0.03, 1.0, 0.03, 1.0]])
    wrong = np.array([[1.0, 0.04, 0.04, 1.0, 0.04, 1.0]])
    ranges = {"diagonal": [0.2, 3.2], "off_diagonal": [-0.8, 0.8]}
    found = {name: value for name, value, _ in metrics.document_errors(wrong, true, ranges)}
    assert found["document_off_diagonal"] == pytest.approx(0.01 / 0.83)
    assert metrics.relative(wrong, true)[0, 1] == pytest.approx(1 / 3)


def test_image_quality_of_a_perfect_image():
    rng = np.random.default_rng(4)
    tensors = np.abs(rng.normal(1, 0.2, (6, 9, 9, 9))) * np.array([1, 0.1, 0.1, 1, 0.1, 1]).reshape(6, 1, 1, 1)
    mask = np.ones((9, 9, 9), bool)
    found = {name: value for name, value, _ in metrics.image_quality(tensors, tensors, mask)}
    assert found["fa_ssim"] == pytest.approx(1)
    assert found["md_psnr"] > 100


def test_frechet_distance_of_normal_clouds_has_its_closed_form():
    """Independent features of standard deviation 1 and 2, means 3 apart: 9 + 2 · (2 − 1)² for two features."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((200_000, 2))
    second = 2 * rng.standard_normal((200_000, 2)) + [3, 0]
    assert metrics.frechet_distance(first, second) == pytest.approx(9 + 2, rel=0.01)
    assert metrics.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_known_inclination_leaves_the_error_of_the_azimuth():
    """Two axes 60 degrees from the pole, 40 degrees apart in azimuth, and a found one that is too steep."""

    def axis(polar_deg, azimuth_deg):
        return Rotation.from_euler("ZY", [azimuth_deg, polar_deg], degrees=True).apply([0, 0, 1])

    found = metrics.with_inclination(np.array([axis(20, 40), -axis(20, 0)]), np.array([axis(60, 0), -axis(60, 0)]))
    assert found == pytest.approx(np.array([axis(60, 40), axis(60, 0)]), abs=1e-6)
