"""Simulated scans: lesions of a volume, contrast of tissues, registration errors that are applied, targets."""

import numpy as np
import pytest

from scan2map.evaluation.fusion_scores import fusion_scores
from scan2map.preprocess.ctmr.hounsfield import BONE_WINDOW, apply_window
from scan2map.systems.ctmr_fusion import composite, scenes
from scan2map.systems.ctmr_fusion.training import Slabs, condition, registered
from scan2map.training.stream import generator

STILL = {"shift_mm": 0, "turn_deg": 0, "share": 1}


@pytest.mark.parametrize("volume_ml", [5.0, 20.0, 58.0])
def test_a_lesion_has_its_volume(fusion_head, volume_ml):
    volumes = [
        scenes.lesion_share(fusion_head, volume_ml, np.random.default_rng(seed)).sum() * np.prod(fusion_head.voxel_mm)
        for seed in range(12)
    ]
    assert np.median(volumes) / 1000 == pytest.approx(volume_ml, rel=0.2)


@pytest.mark.parametrize(("even", "median", "least"), [(0.0, 2.2, 0.01), (1.0, 58**0.5, 1.0)])
def test_volumes_follow_the_challenge_or_are_even(monkeypatch, even, median, least):
    monkeypatch.setattr(scenes, "EVEN_SHARE", even)
    rng = np.random.default_rng(0)
    drawn = np.array([scenes.draw_volume_ml(rng) for _ in range(4000)])
    assert np.median(drawn) == pytest.approx(median, rel=0.1)
    assert drawn.min() >= least
    assert 40 < drawn.max() <= 58


def test_some_subjects_have_no_lesion(fusion_head, fusion_settings):
    counts = [generator(1, i).choice(len(scenes.COUNTS), p=scenes.COUNTS) for i in range(40)]
    scene = {
        count: scenes.draw_scene(fusion_head, fusion_settings["simulation"], generator(1, counts.index(count)))
        for count in (0, 1)
    }
    assert counts.count(0) / len(counts) == pytest.approx(scenes.COUNTS[0], abs=0.15)
    assert not scene[0].lesion.any()
    assert scene[1].lesion.any()


def test_a_lesion_is_bright_in_flair_and_dark_in_ct(fusion_scene, fusion_head):
    inside = fusion_scene.lesion
    matter = (fusion_head.fractions[1] + fusion_head.fractions[2] > 0.95) & ~inside
    assert fusion_scene.mri[inside].mean() > fusion_scene.mri[matter].mean() + 0.5
    assert fusion_scene.ct[inside].mean() < fusion_scene.ct[matter].mean()
    assert fusion_scene.ct[matter].mean() == pytest.approx(33, abs=4)


def test_jitter_is_drawn_within_its_limits_along_every_axis():
    rng = np.random.default_rng(0)
    settings = {"shift_mm": 2, "turn_deg": 2, "share": 1}
    shifts, turns = zip(*(scenes.draw_jitter(settings, rng) for _ in range(2000)), strict=True)
    for values, limit in ((np.array(shifts), 2), (np.degrees(turns), 2)):
        assert np.abs(values).max(0) == pytest.approx([limit] * 3, rel=0.01)
        assert np.abs(values).max() <= limit
        assert values.mean(0) == pytest.approx([0] * 3, abs=0.1)


def test_jitter_is_in_the_share_of_scans_that_the_settings_name():
    rng = np.random.default_rng(0)
    settings = {"shift_mm": 2, "turn_deg": 2, "share": 0.3}
    applied = [scenes.draw_jitter(settings, rng)[0].any() for _ in range(2000)]
    assert np.mean(applied) == pytest.approx(0.3, abs=0.04)


def test_a_moved_volume_is_where_the_motion_says():
    values = np.zeros((31, 31, 11), np.float32)
    values[18, 15, 5] = 1
    voxel = np.array([2.0, 2.0, 5.0])
    assert np.unravel_index(scenes.moved(values, voxel, [4, -6, 5], [0, 0, 0], 0).argmax(), values.shape) == (20, 12, 6)
    turned = scenes.moved(values, voxel, [0, 0, 0], [0, 0, np.pi / 2], 0)
    assert np.unravel_index(turned.argmax(), values.shape) == (15, 18, 5)


def test_training_sees_the_ct_beside_its_place_and_the_target_at_it(fusion_head, fusion_settings):
    simulation = fusion_settings["simulation"] | {"jitter": {"shift_mm": 10, "turn_deg": 0, "share": 1}, "noise_hu": 0}
    scene = scenes.draw_scene(fusion_head, simulation, np.random.default_rng(2), [])
    assert np.abs(scene.ct - scene.true_ct).max() > 500
    assert np.array_equal(scene.bone, scene.ct >= scenes.BONE_HU)
    assert np.array_equal(scene.true_ct, fusion_head.hounsfield)
    still = scenes.draw_scene(fusion_head, simulation | {"jitter": STILL}, np.random.default_rng(2), [])
    assert np.array_equal(still.ct, still.true_ct)


def test_samples_of_a_training_carry_the_jitter(fusion_head, fusion_settings):
    fusion_settings["simulation"]["jitter"]["share"] = 1
    jittered = Slabs([fusion_head], fusion_settings)(generator(1, 5))["condition"]
    still = Slabs([fusion_head], registered(fusion_settings))(generator(1, 5))["condition"]
    assert np.abs(jittered[2] - still[2]).max() > 0.2
    assert np.array_equal(jittered[0], still[0])


def test_samples_depend_on_their_number_alone(fusion_head, fusion_settings):
    slabs = Slabs([fusion_head], fusion_settings)
    first, again, other = (slabs(generator(1, i))["target"] for i in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_windows_are_the_channels(fusion_scene):
    assert condition(fusion_scene.mri, fusion_scene.ct, "two").shape[0] == 3
    assert condition(fusion_scene.mri, fusion_scene.ct, "single").shape[0] == 2
    assert np.abs(condition(fusion_scene.mri, fusion_scene.ct, "two")).max() == 1


def test_the_target_is_bone_from_ct_and_brain_from_mri_without_the_composites_seam(fusion_scene):
    bone_ct = apply_window(fusion_scene.true_ct, BONE_WINDOW)
    given = fusion_scene.mri, bone_ct, fusion_scene.brain, fusion_scene.bone
    target = fusion_scores(fusion_scene.target("composite"), *given)
    simple = {
        name: fusion_scores(image, *given)
        for name, image in composite.simple_fusions(fusion_scene.mri, bone_ct, fusion_scene.bone).items()
    }
    assert target["brain_ssim"] > 0.95
    assert target["bone_psnr"] > 60
    assert target["seam_gradient"] < 0.7 * simple["roi_composite"]["seam_gradient"]
    assert all(target["bone_psnr"] > simple[name]["bone_psnr"] + 5 for name in ("average", "weighted"))
    assert np.array_equal(fusion_scene.target("average"), simple_average(fusion_scene, bone_ct))


def simple_average(scene, bone_ct):
    return (scene.mri + bone_ct) / 2


def test_a_lesion_beside_bone_is_not_blended():
    bone, lesion = np.zeros((12, 12, 2), bool), np.zeros((12, 12, 2), bool)
    bone[:4], lesion[4:7, 5:8] = True, True
    weight = composite.bone_weight(bone, ~bone, lesion)
    assert weight[bone].min() == 1
    assert weight[lesion].max() == 0
    assert 0 < weight[4, 0, 0] < 0.5


def test_the_pyramid_of_an_image_with_itself_is_that_image():
    image = np.random.default_rng(0).uniform(-2, 2, (33, 40, 2))
    assert composite.laplacian_pyramid(image, image) == pytest.approx(image)
