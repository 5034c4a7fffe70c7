"""Boundary-based registration of a folded ball of white matter."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.boundary import (
    boundary_cost,
    register_boundary,
    register_to_t1w,
    white_matter_boundary,
)
from scan2map.preprocess.registration import Transform, apply_transform, rigid_matrix, voxel_centres

SHAPE, AFFINE = (60, 64, 56), np.diag([2.5, 2.5, 2.5, 1])
CENTRE = np.array([74.0, 79, 69])


def soft(distance, width=1.5):
    return 1 / (1 + np.exp(-distance / width))


@pytest.fixture(scope="module")
def head():
    """WM, GM and CSF fractions of a folded head, and its brain mask."""
    world = voxel_centres(SHAPE, AFFINE).reshape(*SHAPE, 3) - CENTRE
    radius = np.linalg.norm(world / [1.0, 1.15, 0.9], axis=-1)
    direction = world / np.maximum(np.linalg.norm(world, axis=-1, keepdims=True), 1e-6)
    folds = 5 * np.cos(7 * direction[..., 0] + 2) * np.cos(6 * direction[..., 1]) + 4 * np.sin(5 * direction[..., 2])
    wm, brain = soft(38 + folds - radius), soft(52 - radius)
    gm = np.clip(soft(48 + folds / 2 - radius) - wm, 0, 1)
    return {"wm": wm, "gm": gm, "csf": np.clip(brain - wm - gm, 0, 1), "mask": brain > 0.5}


@pytest.fixture(scope="module")
def anatomy(head):
    """Brain-extracted T1w image, WM and CSF fractions, mask."""
    t1w = (1000 * head["wm"] + 650 * head["gm"] + 200 * head["csf"]) * head["mask"]
    return Image(t1w.astype(np.float32), AFFINE), Image(head["wm"], AFFINE), Image(head["csf"], AFFINE), head["mask"]


def scan(head, truth, voxel=(3.5, 3.5, 6.0), slices=16) -> Image:
    """A coarse M0-like scan with partial coverage of the head at a known place."""
    m0 = Image((1000 * head["csf"] + 830 * head["gm"] + 700 * head["wm"]).astype(np.float32), AFFINE)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = (-2, -1, 25)
    coarse = apply_transform(m0, Image(np.empty((44, 48, slices)), affine), Transform(np.linalg.inv(truth)), "mean")
    noise = np.random.default_rng(0).normal(0, 15, coarse.data.shape)
    return Image((coarse.data + noise).astype(np.float32), affine)


def error_mm(found, truth, mask) -> float:
    world = voxel_centres(SHAPE, AFFINE)[mask.ravel()]
    return float(np.linalg.norm(found.points(world) - Transform(truth).points(world), axis=1).mean())


def test_boundary_lies_between_the_tissues_and_points_inwards(head, anatomy):
    boundary = white_matter_boundary(anatomy[1], anatomy[2], head["mask"])
    voxels = np.round(boundary.points / 2.5).astype(int)
    assert np.abs(head["wm"][tuple(voxels.T)] - 0.5).max() < 0.25
    np.testing.assert_allclose(np.linalg.norm(boundary.normals, axis=1), 1, atol=1e-6)
    assert ((CENTRE - boundary.points) * boundary.normals).sum(1).mean() > 0


def test_cost_by_hand():
    from scan2map.preprocess.boundary import Boundary

    step = Image(np.where(np.arange(20) < 10, 110.0, 90.0)[:, None, None] * np.ones((20, 12, 12)), np.eye(4))
    points = np.stack([np.full(200, 9.5), np.linspace(1, 10, 200), np.linspace(10, 1, 200)], axis=1)
    edge = Boundary(points, np.tile([1.0, 0, 0], (200, 1)))
    assert boundary_cost(step, edge, Transform(), 2.0) == pytest.approx(1 - np.tanh(0.05 * 20))
    away = Transform(rigid_matrix((5, 0, 0), (0, 0, 0)))
    assert boundary_cost(step, edge, away, 2.0) == pytest.approx(1.0)
    assert boundary_cost(step, edge, Transform(rigid_matrix((500, 0, 0), (0, 0, 0))), 2.0) == 2.0


def test_refinement_finds_a_small_misplacement(head, anatomy):
    truth = rigid_matrix((2.0, -1.5, 1.0), (0.02, -0.03, 0.02), CENTRE)
    boundary = white_matter_boundary(anatomy[1], anatomy[2], head["mask"])
    found, cost = register_boundary(scan(head, truth), boundary, Transform())
    assert error_mm(found, truth, head["mask"]) < 0.7
    assert cost < 0.9


def test_partial_scan_is_registered_after_5_mm_and_5_degrees(head, anatomy):
    truth = rigid_matrix((4.0, 2.0, -2.3), (0.06, 0.05, -0.04), CENTRE)
    found, _ = register_to_t1w(scan(head, truth), *anatomy)
    assert error_mm(found, truth, head["mask"]) < 0.5 * 3.5


def test_an_image_of_inverted_contrast_is_refused(head, anatomy):
    inverted = scan(head, np.eye(4))
    inverted = Image(np.where(inverted.data > 200, 1500 - inverted.data, 0).astype(np.float32), inverted.affine)
    with pytest.raises(DataError, match="could not be registered"):
        register_to_t1w(inverted, *anatomy)


def test_no_border_is_an_error(anatomy):
    blank = Image(np.zeros(SHAPE, np.float32), AFFINE)
    with pytest.raises(DataError, match="border"):
        white_matter_boundary(blank, blank, np.ones(SHAPE, bool))
