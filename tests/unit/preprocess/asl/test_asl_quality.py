"""Quality metrics of good, noisy and broken perfusion maps, and partial-volume correction."""

import json

import numpy as np
import pandas as pd
import pytest

from scan2map.errors import DataError
from scan2map.images import Image, save_image
from scan2map.preprocess.asl.assess import assess_cbf_files, fractions_of_tissue, right_hemisphere
from scan2map.preprocess.asl.partial_volume import correct_partial_volume, tissue_perfusion
from scan2map.preprocess.asl.quality import (
    DICTIONARY,
    asymmetry,
    pure_tissue_cbf,
    quality_evaluation_index,
    quality_metrics,
    save_metrics,
    temporal_snr,
)
from scan2map.preprocess.registration import Transform, rigid_matrix

REGISTRATION = {"MaskOverlap": 0.95, "BoundaryCost": 0.6}


def test_pure_tissue_is_unmixed_in_spite_of_artefacts(ball):
    found = pure_tissue_cbf(ball.cbf, ball.mask, ball.tissues)
    assert found == pytest.approx({"GM": 60, "WM": 20}, rel=1e-3)
    spoiled = ball.cbf.copy()
    bright = ball.mask & (np.random.default_rng(0).random(ball.cbf.shape) < 0.03)
    spoiled[bright] = 2000
    assert pure_tissue_cbf(spoiled, ball.mask, ball.tissues) == pytest.approx({"GM": 60, "WM": 20}, rel=0.1)


def test_quality_index_falls_with_noise(ball):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, ball.cbf.shape)
    values = [
        quality_evaluation_index(ball.cbf + level * noise, ball.tissues, ball.mask, (4, 4, 6)) for level in (0, 80, 300)
    ]
    assert values[0] > 0.6
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.35


def test_quality_index_by_hand(ball):
    """Perfusion as the structure itself, not smoothed (tiny voxels in the formula): likeness 1, nothing negative."""
    structure = 2.5 * ball.tissues["GM"] + ball.tissues["WM"]
    groups = [structure[ball.mask & (ball.tissues[name] >= 0.7)] for name in ("GM", "WM", "CSF")]
    variance = sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(g.size - 1 for g in groups)
    expected = np.cbrt((1 - np.exp(-3.0126)) * np.exp(-0.054 * (variance / groups[0].mean()) ** 0.9272))
    huge_voxels = (1e3, 1e3, 1e3)
    assert quality_evaluation_index(structure, ball.tissues, ball.mask, huge_voxels) == pytest.approx(
        expected, rel=1e-5
    )


def test_temporal_snr_by_hand():
    images = np.array([[[[1.0, 2, 3]]], [[[4, 4, 7]]]])
    gm = np.ones((2, 1, 1), bool)
    assert temporal_snr(images, gm) == pytest.approx((2 / 1 + 5 / np.sqrt(3)) / 2)
    assert np.isnan(temporal_snr(images[..., :2], gm))


def test_row_of_metrics_has_a_dictionary(ball, tmp_path):
    images = np.repeat(ball.cbf[..., None], 4, axis=-1) + np.random.default_rng(0).normal(0, 5, (*ball.cbf.shape, 4))
    kept = np.array([True, True, True, False])
    row = quality_metrics(
        ball.cbf, images, kept, ball.mask, ball.tissues, ball.affine, right_half(ball), np.array([0, 0.2, 0.4]),
        REGISTRATION,
    )  # fmt: skip
    assert set(row) == set(DICTIONARY)
    assert row["pairs_used"] == 3
    assert row["mean_framewise_displacement"] == pytest.approx(0.2)
    assert row["gm_wm_ratio"] == pytest.approx(3, rel=0.01)
    assert row["negative_gm_fraction"] == 0
    save_metrics(tmp_path / "qc.tsv", row, step="quantify_cbf")
    assert list(pd.read_csv(tmp_path / "qc.tsv", sep="\t").columns) == list(row)
    assert set(row) <= set(json.loads((tmp_path / "qc.json").read_text()))


def right_half(ball):
    return np.arange(ball.cbf.shape[0])[:, None, None] >= ball.cbf.shape[0] / 2 + np.zeros(ball.cbf.shape)


def test_asymmetry_by_hand(ball):
    """Left 60, right 60 · 1.1: 2 · (66 − 60) / 126."""
    right = right_half(ball)
    assert asymmetry(ball.cbf, ball.mask, ball.tissues, right) == pytest.approx(0, abs=0.1)
    more = np.where(right, 1.1 * ball.cbf, ball.cbf)
    assert asymmetry(more, ball.mask, ball.tissues, right) == pytest.approx(200 * 6 / 126, abs=0.1)
    assert np.isnan(asymmetry(ball.cbf, ball.mask, ball.tissues, np.zeros_like(right)))


def test_right_hemisphere_follows_both_transforms():
    """T1w world to ASL world is x + 4, to template world x − 8: an ASL voxel at x lies at x − 12 of the template."""
    grid = Image(np.zeros((10, 2, 2)), np.diag([4.0, 4, 4, 1]))
    shift = lambda mm: Transform(rigid_matrix((mm, 0, 0), (0, 0, 0)))  # noqa: E731
    found = right_hemisphere(grid, shift(4.0), shift(-8.0))
    assert found[:, 0, 0].tolist() == [4.0 * n > 12 for n in range(10)]


@pytest.mark.parametrize("wrong", [0.0, 50.0, np.nan])
def test_a_map_that_cannot_be_true_gets_no_metrics(ball, tmp_path, wrong):
    save_image(tmp_path / "cbf.nii.gz", np.full(ball.cbf.shape, wrong), ball.affine)
    save_image(tmp_path / "mask.nii.gz", ball.mask, ball.affine, dtype=np.uint8)
    nothing = dict.fromkeys(("CSF", "GM", "WM"), tmp_path / "mask.nii.gz")
    with pytest.raises(DataError, match=r"constant|not numbers"):
        assess_cbf_files(
            tmp_path / "cbf.nii.gz", tmp_path / "cbf.nii.gz", "", "", tmp_path / "mask.nii.gz", nothing, "", "", "",
            corrected=False, metrics=tmp_path / "qc.tsv",
        )  # fmt: skip
    assert not (tmp_path / "qc.tsv").exists()


def test_corrected_maps_are_judged_by_shares_of_perfused_tissue(ball):
    """A perfectly corrected map holds no fluid: its regression on the shares gives the pure tissues."""
    shares = fractions_of_tissue(ball.tissues)
    perfused = ball.tissues["GM"] + ball.tissues["WM"] > 0.1
    corrected = np.where(perfused, 60 * shares["GM"] + 20 * shares["WM"], 0)
    found = pure_tissue_cbf(corrected, ball.mask, shares)
    assert found == pytest.approx({"GM": 60, "WM": 20}, rel=1e-3)
    assert pure_tissue_cbf(corrected, ball.mask, ball.tissues)["GM"] > 60.5


def test_regression_returns_pure_tissue(ball):
    grey, white = tissue_perfusion(ball.cbf, ball.mask, ball.tissues["GM"], ball.tissues["WM"], ball.affine, 15)
    border = ball.mask & (ball.tissues["GM"] > 0.3) & (ball.tissues["WM"] > 0.3)
    assert border.sum() > 50
    np.testing.assert_allclose(grey[border], 60, rtol=1e-3)
    np.testing.assert_allclose(white[border], 20, rtol=1e-3)


def test_fluid_no_longer_lowers_perfusion(ball):
    edge = ball.mask & (ball.tissues["CSF"] > 0.3) & (ball.tissues["GM"] > 0.3)
    settings = {"method": "regression", "width_mm": 15}
    found = correct_partial_volume(ball.cbf, ball.mask, ball.tissues, ball.affine, settings)
    assert ball.cbf[edge].mean() < 45
    np.testing.assert_allclose(found[edge], 60, rtol=0.02)
    assert (
        correct_partial_volume(ball.cbf, ball.mask, ball.tissues, ball.affine, settings | {"method": "none"})
        is ball.cbf
    )
