"""Scores of a fused image: closed forms, limit cases, MONAI's and scikit-image's structural similarity."""

import numpy as np
import pytest
import torch

from scan2map.errors import DataError
from scan2map.evaluation import fusion_scores as scores

SHAPE = (48, 44, 3)
EVERYWHERE = np.ones(SHAPE, bool)


def texture(seed):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (1.5, 1.5, 0))
    return np.clip(noise / noise.std(), -2, 2)


def test_structural_similarity_agrees_with_monai():
    from monai.metrics.regression import compute_ssim_and_cs

    images = [torch.from_numpy(np.moveaxis(texture(seed), 2, 0)[:, None]) for seed in (1, 2)]
    theirs, _ = compute_ssim_and_cs(
        *images, spatial_dims=2, kernel_size=(11, 11), kernel_sigma=(1.5, 1.5), data_range=4.0
    )
    ours = scores.structural_similarity(texture(1), texture(2))[5:-5, 5:-5]
    assert np.moveaxis(ours, 2, 0) == pytest.approx(theirs[:, 0].numpy(), abs=1e-5)


def test_similarity_is_one_only_where_the_source_is_kept():
    fused = texture(1)
    fused[:, :22] = texture(2)[:, :22]
    left, right = EVERYWHERE.copy(), EVERYWHERE.copy()
    left[:, 15:], right[:, :29] = False, False
    assert scores.ssim_inside(fused, texture(1), right) == pytest.approx(1.0)
    assert scores.ssim_inside(fused, texture(1), left) < 0.3


def test_what_lies_outside_the_region_has_no_influence():
    inside = EVERYWHERE.copy()
    inside[30:] = False
    changed = np.where(inside, texture(1), 2.0)
    assert scores.ssim_inside(changed, texture(1), inside) == pytest.approx(1.0)
    noisy = texture(1) + 0.3 * texture(2)
    assert scores.ssim_inside(np.where(inside, noisy, 2.0), texture(1), inside) == pytest.approx(
        scores.ssim_inside(noisy, texture(1), inside)
    )


def test_noise_ratio_by_hand_and_with_a_fixed_range():
    source = 0.1 * texture(1)
    assert scores.psnr_inside(source + 0.4, source, EVERYWHERE) == pytest.approx(20.0)  # 10 log10(16 / 0.16)
    assert scores.psnr_inside(source, source, EVERYWHERE) == np.inf


def test_information_of_a_copy_is_its_entropy_and_of_noise_nearly_none():
    rng = np.random.default_rng(0)
    shape = (100, 100, 20)
    values, noise = rng.uniform(-2, 2, shape), rng.uniform(-2, 2, shape)
    found = scores.shared_information(values, values, noise, np.ones(shape, bool))
    assert found == pytest.approx(np.log(64), abs=0.02)


def test_edges_of_a_copy_reach_the_published_ceiling():
    ceiling = 0.9994 / (1 + np.exp(-15 * 0.5)) * 0.9879 / (1 + np.exp(-22 * 0.2))
    source = texture(1)
    assert scores.edges_kept(source, source, source, EVERYWHERE) == pytest.approx(ceiling)
    assert scores.edges_kept(texture(3), source, source, EVERYWHERE) < 0.5 * ceiling


def test_edges_are_weighted_by_strength():
    strong, faint = texture(1), 0.01 * texture(2)
    kept = scores.edges_kept(strong, strong, faint, EVERYWHERE)
    assert kept > 3 * scores.edges_kept(faint, strong, faint, EVERYWHERE)


def test_a_seam_is_what_neither_source_has():
    roi = np.zeros(SHAPE, bool)
    roi[20:] = True
    flat, step = np.zeros(SHAPE), np.where(roi, 1.0, 0.0)
    assert scores.seam_gradient(step, flat, flat, roi) == pytest.approx(0.5)  # central difference over two voxels
    assert scores.seam_gradient(step, step, flat, roi) == 0
    ramp = np.clip((np.arange(48) - 10) / 20, 0, 1)[:, None, None] * np.ones(SHAPE)
    assert scores.seam_gradient(ramp, flat, flat, roi) == pytest.approx(0.05)


def test_the_composite_of_the_documents_regions_is_optimal_for_its_scores():
    brain, bone = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    brain[:18], bone[24:] = True, True
    mri, ct = texture(1), texture(2)
    found = scores.fusion_scores(np.where(bone, ct, mri), mri, ct, brain, bone)
    average = scores.fusion_scores((mri + ct) / 2, mri, ct, brain, bone)
    assert found["brain_ssim"] == pytest.approx(1.0)
    assert found["bone_psnr"] == np.inf
    assert all(found[name] > average[name] for name in ("brain_ssim", "bone_psnr", "mutual_information", "qabf"))
    assert found["seam_gradient"] > average["seam_gradient"]


def test_an_empty_region_is_an_error():
    with pytest.raises(DataError, match="empty mask"):
        scores.psnr_inside(texture(1), texture(2), ~EVERYWHERE)
