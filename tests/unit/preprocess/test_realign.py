"""Motion estimates against motion that was put in."""

import numpy as np
import pytest

from scan2map.images import Image
from scan2map.preprocess.realign import Motion, estimate_motion, motion_of, resample_series, without_pattern
from scan2map.preprocess.registration import Transform, apply_transform, rigid_matrix, voxel_centres

CENTRE = np.array([60.0, 60.0, 45.0])


def head(shape=(40, 40, 18), affine=None) -> Image:
    affine = np.diag([3.0, 3, 5, 1]) if affine is None else affine
    world = voxel_centres(shape, affine).reshape(*shape, 3) - CENTRE
    brain = 1 / (1 + np.exp((np.linalg.norm(world / [45, 50, 35], axis=-1) - 1) * 15))
    texture = 1 + 0.3 * np.cos(world[..., 0] / 9) * np.cos(world[..., 1] / 11) + 0.2 * np.sin(world[..., 2] / 8)
    return Image((1000 * brain * texture).astype(np.float32), affine)


def moved(image: Image, matrices) -> Image:
    """The series that a head makes which lies at M x in each volume."""
    volumes = [apply_transform(image, image, Transform(np.linalg.inv(matrix)), "cubic").data for matrix in matrices]
    return Image(np.stack(volumes, axis=-1), image.affine)


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    steps = [rigid_matrix(rng.normal(0, 1.0, 3), rng.normal(0, 0.015, 3), CENTRE) for _ in range(5)]
    return np.stack([np.eye(4), *steps])


def mean_error(found, truth, mask, affine) -> float:
    world = voxel_centres(mask.shape, affine)[mask.ravel()]
    return max(
        float(np.linalg.norm(Transform(a).points(world) - Transform(b).points(world), axis=1).mean())
        for a, b in zip(found, truth, strict=True)
    )


def test_known_motion_is_found_in_noise_and_with_changing_intensity(truth):
    image = head()
    series = moved(image, truth)
    noise = np.random.default_rng(1).normal(0, 20, series.data.shape)
    gain = np.array([1, 1.1, 0.9, 1, 1.2, 0.8])
    found = estimate_motion(Image(series.data * gain + noise, series.affine), image.data > 300)
    assert mean_error(found.matrices, np.stack([np.eye(4)] * 6), image.data > 300, image.affine) > 1
    assert mean_error(found.matrices, truth, image.data > 300, image.affine) < 0.15


def test_resampling_undoes_the_motion(truth):
    image = head()
    back = resample_series(moved(image, truth), truth)
    inner = np.s_[6:-6, 6:-6, 3:-3]
    assert np.abs(back - image.data[..., None])[inner].max() < 0.05 * image.data.max()


def test_alternation_of_control_and_label_is_no_motion():
    pattern = np.array([1.0, -1, 1, -1, 1, -1])
    drift = np.linspace(0, 0.4, 6)
    matrices = [
        rigid_matrix((d + 0.05 * p, 0, 0), (0, 0.002 * p, 0), CENTRE) for d, p in zip(drift, pattern, strict=True)
    ]
    cleaned = without_pattern(motion_of(np.stack(matrices), CENTRE), pattern)
    assert pattern @ (cleaned.parameters - cleaned.parameters.mean(0)) == pytest.approx(np.zeros(6), abs=1e-9)
    assert np.ptp(cleaned.parameters[:, 0]) > 0.3
    constant = motion_of(np.stack([np.eye(4)] * 3), CENTRE)
    assert without_pattern(constant, np.ones(3)) is constant


def test_framewise_displacement_by_hand():
    motion = Motion(np.stack([np.eye(4)] * 2), np.array([[0, 0, 0, 0, 0, 0], [1, -2, 0.5, 0.01, 0, -0.02]]), CENTRE)
    assert motion.framewise_displacement_mm == pytest.approx([0, 3.5 + 50 * 0.03])
