"""Scores of masks: worked out by hand, and against MONAI's."""

import numpy as np
import pytest
import torch
from monai import metrics

from scan2map.errors import DataError
from scan2map.evaluation import lesion_scores as scores

SPACING_MM = (1.0, 1.5, 5.0)
EMPTY = np.zeros((8, 8, 4), bool)


def box(*corners, shape=(20, 18, 8)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in corners)] = True
    return mask


def blobs(seed):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(20, 18, 8)), (2, 2, 1))
    return noise > 1.2 * noise.std()


def batched(mask):
    return torch.from_numpy(mask.astype(np.float32))[None, None]


@pytest.mark.parametrize("seed", range(5))
def test_agreement_with_monai(seed):
    one, two = blobs(seed), blobs(seed + 100) | blobs(seed)
    given = {"include_background": True, "spacing": SPACING_MM}
    assert scores.dice(one, two) == pytest.approx(float(metrics.compute_dice(batched(one), batched(two))))
    surface = metrics.compute_surface_dice(batched(one), batched(two), class_thresholds=[2.0], **given)
    assert scores.surface_dice(one, two, SPACING_MM) == pytest.approx(float(surface), abs=1e-6)
    far = metrics.compute_hausdorff_distance(batched(one), batched(two), percentile=95, **given)
    assert scores.hausdorff_95(one, two, SPACING_MM) == pytest.approx(float(far), rel=1e-5)


def test_distances_are_millimetres_along_each_axis():
    one = box((5, 6), (5, 6), (3, 4))
    for axis, edge_mm in enumerate(SPACING_MM):
        moved = np.roll(one, 2, axis)
        assert scores.hausdorff_95(one, moved, SPACING_MM) == pytest.approx(2 * edge_mm)
        assert scores.surface_dice(one, moved, SPACING_MM, 2 * edge_mm) == 1
        assert scores.surface_dice(one, moved, SPACING_MM, 2 * edge_mm - 0.01) == 0


def test_hausdorff_is_the_larger_of_both_directions():
    near, with_island = box((2, 10), (2, 10), (2, 4)), box((2, 10), (2, 10), (2, 4)) | box((17, 19), (14, 18), (6, 8))
    small = scores.surface_distances(near, with_island, SPACING_MM)
    assert small[0].max() == 0
    assert scores.hausdorff_95(near, with_island, SPACING_MM) == scores.hausdorff_95(with_island, near, SPACING_MM) > 10


def test_dice_of_half_a_box():
    assert scores.dice(box((0, 4), (0, 4), (0, 4)), box((2, 6), (0, 4), (0, 4))) == pytest.approx(0.5)


def test_empty_masks_are_defined():
    lesion = EMPTY.copy()
    lesion[2:4, 2:4, 1] = True
    both, one = scores.lesion_scores(EMPTY, EMPTY, SPACING_MM), scores.lesion_scores(EMPTY, lesion, SPACING_MM)
    assert (both["dice"], both["nsd"], both["hd95"], both["lesion_f1"], both["one_empty"]) == (1, 1, 0, 1, 0)
    assert (one["dice"], one["nsd"], one["lesion_f1"], one["one_empty"]) == (0, 0, 0, 1)
    assert np.isnan(one["hd95"])
    assert np.isnan(scores.lesion_scores(lesion, EMPTY, SPACING_MM)["hd95"])


def test_lesions_are_counted_whole():
    expert = box((1, 4), (1, 4), (1, 3)) | box((10, 12), (10, 12), (4, 6))
    predicted = box((2, 5), (2, 5), (1, 3)) | box((16, 18), (2, 4), (6, 8))
    assert scores.lesion_counts(predicted, expert) == (1, 1, 1)
    assert scores.lesion_f1(predicted, expert) == pytest.approx(0.5)


def test_two_pieces_inside_one_lesion_find_it_once():
    expert = box((1, 12), (1, 4), (1, 3))
    assert scores.lesion_counts(box((1, 4), (1, 4), (1, 3)) | box((8, 12), (1, 4), (1, 3)), expert) == (1, 0, 0)


@pytest.mark.parametrize(("voxels", "name"), [(0, "no lesion"), (1, "below 1 ml"), (133, "below 1 ml"),
                                              (134, "1 to 10 ml"), (1334, "10 ml and more")])  # fmt: skip
def test_strata_by_volume(voxels, name):
    mask = np.zeros(2000, bool)
    mask[:voxels] = True
    assert scores.stratum(mask.reshape(20, 20, 5), SPACING_MM) == name


def test_masks_of_different_shape_are_refused():
    with pytest.raises(DataError, match="cannot be compared"):
        scores.dice(EMPTY, EMPTY[:4])
