"""The package that ships: loads with today's code, and fuses a head of another size and voxel than it learned from."""

from pathlib import Path

import pytest
import torch

from scan2map.evaluation.fusion_scores import psnr_inside, ssim_inside
from scan2map.preprocess.ctmr.hounsfield import BONE_WINDOW, apply_window
from scan2map.systems.ctmr_fusion.composite import average
from scan2map.systems.ctmr_fusion.training import condition, draw_images
from scan2map.training.package import load_package

SHIPPED = Path("resources/models/ctmr_fusion")


@pytest.fixture(scope="module")
def package():
    return load_package(SHIPPED)


def test_it_is_small_enough_for_git_and_unguided(package):
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 3e6
    assert not package.settings["guidance"]["enabled"]


def test_brain_and_bone_of_a_head_that_it_never_saw(package, fusion_scene):
    seen = torch.from_numpy(condition(fusion_scene.mri, fusion_scene.ct, package.settings["windows"]))[None]
    with torch.inference_mode():
        image = draw_images(package.members[0], seen, package.settings["sampling"], 1, steps=10)[0, 0, 0].numpy()
    bone_ct = apply_window(fusion_scene.ct, BONE_WINDOW)
    plain = average(fusion_scene.mri, bone_ct)
    brain, bone = fusion_scene.brain, fusion_scene.bone
    assert ssim_inside(image, fusion_scene.mri, brain) > 0.1 + ssim_inside(plain, fusion_scene.mri, brain)
    assert psnr_inside(image, bone_ct, bone) > 5 + psnr_inside(plain, bone_ct, bone)
