"""Masks and intensities on shapes whose volumes are known."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.ctmr.masks import bone_mask, inside_skull, normalise_in_brain, overlap

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])  # 0.02 ml per voxel


@pytest.fixture
def ct():
    values = np.full((40, 40, 8), -1000.0, dtype=np.float32)
    values[5:35, 5:35] = 900
    values[8:32, 8:32] = 35
    values[20, 20, 4] = 700  # a calcification
    return values


def test_bone_is_the_skull_without_the_calcification(ct):
    bone = bone_mask(Image(ct, AFFINE), 300, 1.0)
    assert bone.sum() == (30 * 30 - 24 * 24) * 8
    assert not bone[20, 20, 4]


def test_pieces_are_kept_by_their_volume_in_ml(ct):
    assert bone_mask(Image(ct, AFFINE), 300, 0.01)[20, 20, 4]
    assert not bone_mask(Image(ct, AFFINE), 300, 0.03)[20, 20, 4]


def test_no_bone_is_an_error(ct):
    with pytest.raises(DataError, match="No bone"):
        bone_mask(Image(np.minimum(ct, 100), AFFINE), 300, 1.0)


def test_the_inside_of_a_skull_is_what_a_closed_ring_encloses(ct):
    bone = bone_mask(Image(ct, AFFINE), 300, 1.0)
    bone[:, 30:, 7] = False  # an open ring, as at the base of the skull
    assert [int(part.sum()) for part in np.moveaxis(inside_skull(bone), 2, 0)] == [24 * 24] * 7 + [0]


def test_intensities_are_anchored_inside_the_brain_and_clipped_outside():
    brain = np.zeros((11, 11, 1), bool)
    brain[:10, :10] = True
    values = np.full((11, 11, 1), 5000.0)
    values[brain] = np.linspace(100, 200, 100)
    scaled = normalise_in_brain(values, brain)
    assert scaled.max() == scaled[10, 10, 0] == 2
    assert np.quantile(scaled[brain], [0.01, 0.5]) == pytest.approx([-2, 0], abs=1e-3)
    assert normalise_in_brain(7 * values + 3, brain) == pytest.approx(scaled, abs=1e-4)


def test_a_small_bright_lesion_is_not_cut_off():
    brain = np.ones((20, 20, 1), bool)
    values = np.random.default_rng(1).uniform(90, 130, brain.shape)
    values[2] = 10  # fluid
    values[0, :2] = 180  # half a percent of the brain, brighter than the rest
    scaled = normalise_in_brain(values, brain)
    assert scaled[2:].max() + 0.5 < scaled[0, 0, 0] < 2


def test_a_brain_without_contrast_is_an_error():
    with pytest.raises(DataError, match="no contrast"):
        normalise_in_brain(np.ones((4, 4, 1)), np.ones((4, 4, 1), bool))


def test_overlap_by_hand():
    one, two = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 1], bool)
    assert overlap(one, two) == pytest.approx(2 / 5)
    assert overlap(one & ~one, two & ~two) == 1
