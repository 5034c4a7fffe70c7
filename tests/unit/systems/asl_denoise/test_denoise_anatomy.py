"""What a guided network sees beside the images (noisy M0, tissue maps that are off), and lesions that it does not."""

import pytest
import torch

from scan2map.phantom.slices.perfusion import draw_perfusion, seeded
from scan2map.systems.asl_denoise import anatomy
from scan2map.systems.asl_denoise.scenes import scene_guide
from scan2map.systems.asl_denoise.simulator import draw_small_lesions, simulate


def _halves(size=24):
    """Grey matter on the left, white matter on the right."""
    tissue = torch.zeros(3, 3, size, size)
    tissue[:, 1, :, : size // 2], tissue[:, 2, :, size // 2 :] = 1, 1
    return tissue


def test_images_are_read_where_the_shift_says():
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    shift = torch.zeros(1, 2, 20, 20)
    shift[:, 0] = 1.5  # along x
    assert torch.allclose(anatomy.moved(ramp, shift)[..., 2:-2], ramp[..., 2:-2] + 1.5, atol=1e-4)
    assert torch.allclose(anatomy.moved(ramp, 0 * shift), ramp, atol=1e-5)


def test_directions_have_the_length_that_was_asked_for():
    found = anatomy.random_directions(torch.full((500,), 0.7), seeded(1))
    assert torch.allclose(found.norm(dim=1), torch.full((500,), 0.7))
    assert found.mean(0).abs().max() < 0.1


def test_segmentation_moves_borders_and_keeps_the_brain():
    tissue = _halves()
    found = anatomy.segmented(tissue, torch.tensor([[2.0, 0.0]]).expand(3, -1), seeded(2))
    assert torch.allclose(found.sum(1), tissue.sum(1), atol=1e-4)
    assert found.min() > -1e-6
    border = (found[:, 1] > 0.5).float().sum(-1).mean()
    assert float(border) == pytest.approx(24 / 2 - 2, abs=0.6)


def test_guide_of_a_scan_is_as_wrong_as_the_protocol_says(denoise_scene, denoise_settings):
    protocol, slices = denoise_settings["evaluation"], denoise_scene.slices
    inside = slices.mask > 0
    error = (denoise_scene.guide[:, :1] - slices.relative_m0)[inside]
    assert float(error.std()) == pytest.approx(protocol["m0_noise"], rel=0.15)
    assert (denoise_scene.guide * (1 - slices.mask)).abs().max() == 0
    near, far = (scene_guide(slices, protocol, denoise_scene.seed, shift) for shift in (0.0, 4.0))
    true = slices.fractions[:, 1:2]
    assert (near[:, 1:2] - true)[inside].std() < 0.7 * (far[:, 1:2] - true)[inside].std()


def test_same_scan_same_guide(denoise_scene, denoise_settings):
    again = scene_guide(
        denoise_scene.slices, denoise_settings["evaluation"], denoise_scene.seed,
        denoise_settings["evaluation"]["registration_error_mm"],
    )  # fmt: skip
    assert torch.equal(again, denoise_scene.guide)


def test_small_lesions_change_perfusion_where_they_are_and_nowhere_else():
    before, voxel_mm = draw_perfusion(8, 32, seeded(3)), torch.full((8,), 3.0)
    settings = {"count": 2, "probability": 1.0, "diameter_mm": [6.0, 12.0]}
    after, share = draw_small_lesions(before, settings, voxel_mm, seeded(4))
    ratio = after.gm_cbf / before.gm_cbf
    assert torch.allclose(ratio[share < 1e-4], torch.ones(1), atol=1e-3)
    assert (ratio[share > 0.95] - 1).abs().min() > 0.1
    assert all(lesion.max() > 0.5 for lesion in share)
    none, empty = draw_small_lesions(before, settings | {"count": 0}, voxel_mm, seeded(4))
    assert torch.equal(none.gm_cbf, before.gm_cbf)
    assert empty.max() == 0


def test_lesions_are_not_in_the_anatomy(denoise_settings):
    """The same draw with and without lesions: the signal changes, what the network sees beside it does not."""
    scans = []
    for probability in (0.0, 1.0):
        changed = {"probability": probability}
        simulation = denoise_settings["simulation"]
        simulation = simulation | {name: simulation[name] | changed for name in ("lesion", "small_lesions")}
        scans.append(simulate(_halves(), torch.full((3,), 3.0), simulation, seeded(6)))
    assert torch.equal(scans[0].guide, scans[1].guide)
    assert (scans[0].clean - scans[1].clean).abs().amax((1, 2, 3)).min() > 0.05
