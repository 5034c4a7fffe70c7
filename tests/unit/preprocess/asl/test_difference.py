"""Subtraction by hand, and outliers that were put in."""

from dataclasses import replace

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.preprocess.asl.difference import recorded_differences, score, select_pairs, subtract


def volumes(*values):
    return np.array(values, dtype=float)[None, None, None, :]


def test_pairs_whatever_comes_first(pcasl):
    found = subtract(volumes(10, 7, 12, 8), pcasl, "pairwise")
    assert found.images.ravel().tolist() == [3, 4]
    label_first = replace(pcasl, volume_types=("label", "control", "label", "control"))
    found = subtract(volumes(7, 10, 8, 12), label_first, "pairwise")
    assert found.images.ravel().tolist() == [3, 4]
    assert found.volumes == [(1, 0), (3, 2)]


def test_surround_removes_linear_drift(pcasl):
    drift = np.array([0, 1, 2, 3])
    signal = np.array([10, 7, 10, 7]) + drift
    assert subtract(volumes(*signal), pcasl, "surround").images.ravel().tolist() == [3, 3]
    assert subtract(volumes(*signal), pcasl, "pairwise").images.ravel().tolist() == [2, 2]


def test_pairs_are_made_within_a_delay(pcasl):
    types, delays = ("control", "control", "label", "label"), (1.0, 2.0, 2.0, 1.0)
    found = subtract(volumes(10, 20, 15, 9), replace(pcasl, volume_types=types, delays_s=delays), "pairwise")
    assert found.images.ravel().tolist() == [1, 5]
    assert found.delays_s.tolist() == [1.0, 2.0]


def test_difference_images_are_taken_as_they_are(pcasl):
    only = replace(pcasl, volume_types=("deltam", "deltam"), delays_s=(1.8, 1.8))
    assert subtract(volumes(3, 4), only, "pairwise").images.ravel().tolist() == [3, 4]


@pytest.mark.parametrize("scheme", ["pairwise", "surround"])
def test_recorded_pairs_give_the_same_images(pcasl, scheme):
    found = subtract(volumes(10, 7, 12, 8), pcasl, scheme)
    recorded = [",".join(map(str, numbers)) for numbers in found.volumes]
    np.testing.assert_array_equal(
        recorded_differences(volumes(10, 7, 12, 8), pcasl.volume_types, recorded), found.images
    )


def test_volumes_without_a_partner_are_told(pcasl, caplog):
    cut = replace(pcasl, volume_types=("control", "label", "control", "control"))
    with caplog.at_level("WARNING", logger="scan2map"):
        assert len(subtract(volumes(10, 7, 12, 13), cut, "pairwise").volumes) == 1
    assert "3 control and 1 label volumes" in caplog.text


def test_a_lonely_volume_is_no_pair(pcasl):
    lonely = replace(pcasl, volume_types=("control", "control", "control", "label"), delays_s=(1, 1, 1, 2))
    with pytest.raises(DataError, match="no control-label pair"):
        subtract(volumes(1, 2, 3, 4), lonely, "pairwise")


def noisy_differences(ball, count=12):
    rng = np.random.default_rng(2)
    clean = (ball.cbf / 10 * ball.mask)[..., None]
    return clean + rng.normal(0, 3, (*ball.cbf.shape, count)) * ball.mask[..., None]


def test_score_keeps_noise_and_drops_artefacts(ball):
    images = noisy_differences(ball)
    assert score(images, *(ball.tissues[t] > 0.7 for t in ("GM", "WM", "CSF"))).sum() >= 10
    images[..., 3] += 40 * ball.mask
    stripes = 25 * np.sign(np.sin(np.arange(24)))[:, None, None]
    images[..., 7] += stripes * ball.mask
    keep = score(images, *(ball.tissues[t] > 0.7 for t in ("GM", "WM", "CSF")))
    assert not keep[3]
    assert not keep[7]
    assert keep.sum() >= 8


def test_fate_of_each_pair_is_recorded(ball):
    images = noisy_differences(ball)
    images[..., 5] += 40 * ball.mask
    fate = select_pairs(images, ball.tissues, 2, "score")
    assert fate[:2].tolist() == ["skipped", "skipped"]
    assert fate[5] == "outlier"
    assert select_pairs(images, ball.tissues, 0, "none").tolist() == ["used"] * 12
    with pytest.raises(DataError, match="No control-label pair is left"):
        select_pairs(images, ball.tissues, 12, "none")
