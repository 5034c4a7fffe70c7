"""Tissue model against mixtures that were drawn from it; bias field and tissue fractions of a synthetic head."""

import numpy as np
import pytest

from scan2map import config
from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.anat.tissue import (
    check_contrast,
    check_shares,
    discrete_segmentation,
    fit_tissue_model,
    segment,
    segment_tissue_files,
    tissue_fractions,
)

MEANS = np.array([200.0, 650.0, 1000.0])
SETTINGS = config.check_block("anat", {"bias_field": {"iterations": 15, "working_resolution_mm": 12}})


@pytest.fixture(scope="module")
def mixture():
    """True fractions (n, 3) and noisy intensities of pure and mixed voxels."""
    rng = np.random.default_rng(0)
    share = rng.random((20000, 1))
    csf_gm, gm_wm = share[:10000] * [1, -1, 0] + [0, 1, 0], share[10000:] * [0, 1, -1] + [0, 0, 1]
    pure = np.eye(3)[rng.choice(3, 40000, p=[0.15, 0.45, 0.4])]
    truth = np.concatenate([csf_gm, gm_wm, pure])
    return truth, truth @ MEANS + rng.normal(0, 40, len(truth))


@pytest.fixture(scope="module")
def ball():
    """A shaded T1w ball of white matter in grey matter in fluid, its true fractions and mask."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij"))
    radius = 80 * np.linalg.norm(grid, axis=0)
    wm, inside = np.clip(48 - radius, 0, 4) / 4, radius < 72
    gm = np.clip(64 - radius, 0, 4) / 4 - wm
    fractions = np.stack([inside - gm - wm, gm, wm], axis=-1).clip(0) * inside[..., None]
    shading = 1 + 0.25 * grid[0] - 0.15 * grid[1] * grid[2]
    noise = np.random.default_rng(1).normal(0, 15, radius.shape)
    image = Image((fractions @ MEANS * shading + noise).astype(np.float32), np.diag([4.0, 4, 4, 1]))
    return image, fractions, inside


def test_means_and_fractions_of_a_known_mixture(mixture):
    truth, values = mixture
    model = fit_tissue_model(values)
    np.testing.assert_allclose(model.means, MEANS, rtol=0.08)
    np.testing.assert_allclose(model.spread, 40, rtol=0.5)
    found = tissue_fractions(values, model)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert np.abs(found - truth).mean() < 0.07
    np.testing.assert_allclose(found.mean(0), truth.mean(0), atol=0.03)


def test_half_filled_voxel_is_seen_as_half_filled(mixture):
    model = fit_tissue_model(mixture[1])
    found = tissue_fractions(np.array([825.0, 425.0, 0.0, 2000.0]), model)
    assert found[0, 1] == pytest.approx(0.5, abs=0.15)
    assert found[1, 0] == pytest.approx(0.5, abs=0.15)
    np.testing.assert_allclose(found[2:], [[1, 0, 0], [0, 0, 1]], atol=0.01)


def test_one_tissue_is_not_taken_for_three():
    with pytest.raises(DataError, match="does not tell"):
        check_contrast(fit_tissue_model(np.random.default_rng(0).normal(500, 100, 20000)))


def test_shares_outside_living_heads_are_refused():
    fractions = np.tile([0.2, 0.45, 0.35], (100, 1))
    assert check_shares(fractions)["GM"] == pytest.approx(0.45)
    with pytest.raises(DataError, match=r"WM map.*2 %"):
        check_shares(np.tile([0.48, 0.5, 0.02], (100, 1)))


def test_largest_fraction_names_the_voxel():
    fractions = np.array([[[[0.6, 0.3, 0.1], [0.1, 0.5, 0.4], [0.0, 0.2, 0.8], [0, 0, 1]]]])
    mask = np.array([[[True, True, True, False]]])
    np.testing.assert_array_equal(discrete_segmentation(fractions, mask)[0, 0], [1, 2, 3, 0])


def test_shading_is_removed_and_tissue_found(ball):
    image, truth, mask = ball
    corrected, fractions = segment(image, mask, SETTINGS)
    white = truth[..., 2] > 0.99
    before = image.data[white].std() / image.data[white].mean()
    after = corrected[white].std() / corrected[white].mean()
    assert after < 0.4 * before
    assert np.median(corrected[white]) == pytest.approx(1000, rel=0.03)
    for tissue in (1, 2):
        first, second = fractions[..., tissue] > 0.5, truth[..., tissue] > 0.5
        assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.93


def test_files_hold_maps_that_sum_to_the_brain(ball, tmp_path):
    image, _, mask = ball
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("t1w", "mask", "preproc", "csf", "gm", "wm", "dseg")}
    save_image(paths["t1w"], image.data, image.affine)
    save_image(paths["mask"], mask, image.affine, dtype=np.uint8)
    segment_tissue_files(
        [paths["t1w"]], paths["mask"], SETTINGS, **{n: paths[n] for n in ("preproc", "csf", "gm", "wm", "dseg")}
    )
    total = sum(load_image(paths[name]).data for name in ("csf", "gm", "wm"))
    np.testing.assert_allclose(total, mask, atol=1e-5)
    assert set(np.unique(load_image(paths["dseg"]).data)) == {0, 1, 2, 3}
    first = paths["gm"].read_bytes()
    segment_tissue_files(
        [paths["t1w"]], paths["mask"], SETTINGS, **{n: paths[n] for n in ("preproc", "csf", "gm", "wm", "dseg")}
    )
    assert paths["gm"].read_bytes() == first
