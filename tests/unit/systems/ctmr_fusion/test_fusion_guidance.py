"""Each part of Algorithm 1: what it does, and what is missing without it."""

import numpy as np
import pytest
import torch
from monai.losses import HausdorffDTLoss

from scan2map.evaluation.fusion_scores import structural_similarity
from scan2map.systems.ctmr_fusion.guidance import (
    PRESETS,
    SURFACE_WEIGHT,
    Preset,
    Regions,
    lesion_loss,
    make_guide,
    region_losses,
)
from scan2map.systems.ctmr_fusion.similarity import dissimilarity, similarity_inside

SHAPE = (1, 1, 24, 24, 6)
SETTINGS = {"preset": "stroke", "step_size": 0.2}


def texture(seed):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE[2:]), (1.5, 1.5, 0))
    return torch.from_numpy(np.clip(noise / noise.std(), -2, 2).astype(np.float32))[None, None]


def mask(*rows):
    inside = torch.zeros(SHAPE)
    inside[:, :, slice(*rows)] = 1
    return inside


def regions(lesion=None):
    empty = torch.zeros(SHAPE)
    return Regions(texture(1), texture(2), mask(8, 24), mask(0, 6), empty if lesion is None else lesion)


def lesion_place():
    inside = torch.zeros(SHAPE)
    inside[:, :, 14:19, 8:14, 2:4] = 1
    return inside


def head(image, brain):
    """Bright is lesion."""
    return torch.sigmoid(3 * (image - 1))


def guided(parts, settings=SETTINGS, steps=1, done=0.0, start=None):
    """A fused image (−2 to 2) after some steps of guidance alone."""
    image = texture(3) / 2 if start is None else start
    change = make_guide(parts, settings, head)
    for _ in range(steps):
        image = image + change(image, done)
    return 2 * image


def test_similarity_is_the_one_that_is_reported():
    ours = similarity_inside(texture(1), texture(2), mask(3, 20))[0, 0].numpy()
    theirs = structural_similarity(texture(1)[0, 0].numpy(), texture(2)[0, 0].numpy(), mask(3, 20)[0, 0].numpy())
    inside = mask(3, 20)[0, 0].numpy() > 0
    # The report reflects images at their edges, guidance sees nothing there: compared inside.
    inside[:, :6] = inside[:, -6:] = False
    assert ours[inside] == pytest.approx(theirs[inside], abs=1e-4)


def test_guidance_brings_the_brain_to_the_mri_and_bone_to_the_ct():
    parts = regions()
    before, after = guided(parts, steps=0), guided(parts, steps=10)
    for source, place in ((parts.mri, parts.brain), (parts.bone_ct, parts.bone)):
        assert float(dissimilarity(after, source, place)) < 0.8 * float(dissimilarity(before, source, place))
    between = mask(6, 8)
    assert torch.equal(after * between, before * between)


@pytest.mark.parametrize(("without", "place"), [("brain", mask(8, 24)), ("bone", mask(0, 6))])
def test_a_region_without_weight_is_left_alone(monkeypatch, without, place):
    monkeypatch.setitem(PRESETS, "stroke", PRESETS["stroke"]._replace(**{without: 0.0}))
    change = guided(regions()) - guided(regions(), steps=0)
    assert float((change * place).abs().max()) == 0
    assert float(change.abs().max()) > 0


def test_the_lesion_head_speaks_from_the_midpoint_on():
    parts = regions(lesion_place())
    early, late = guided(parts, done=0.49), guided(parts, done=0.5)
    assert torch.equal(early, guided(regions(), done=0.49))
    inside = lesion_place() > 0
    assert float((late - early)[inside].mean()) > 0
    assert float(head(late, None)[inside].mean()) > float(head(early, None)[inside].mean())


def test_without_a_predicted_lesion_there_is_no_lesion_term():
    assert torch.equal(guided(regions(), done=0.9), guided(regions(), done=0.1))


def test_surface_and_overlap_have_gradients_and_agree_on_what_is_better():
    place = lesion_place()
    near, far = place.roll(1, 2), place.roll(5, 2)
    assert float(lesion_loss(place, place)) < float(lesion_loss(near, place)) < float(lesion_loss(far, place))
    probability = torch.full(SHAPE, 0.4, requires_grad=True)
    slope = torch.autograd.grad(lesion_loss(probability, place), probability)[0]
    assert float(slope[place > 0].max()) < 0  # more lesion inside
    assert float(slope[place == 0].min()) > 0  # less outside


def test_the_overlap_term_is_the_dice_of_the_probabilities_by_hand():
    place = lesion_place()  # 60 voxels
    half = 0.4 * mask(14, 19) * (place > 0) + 0.2 * place.roll(8, 2)
    surface = HausdorffDTLoss(include_background=True)(half, place)
    overlap = 2 * 0.4 * 60 / (0.4 * 60 + 0.2 * 60 + 60)
    assert float(lesion_loss(half, place) - SURFACE_WEIGHT * surface) == pytest.approx(1 - overlap, abs=1e-4)


def test_the_surface_term_pulls_harder_at_what_is_far_off():
    place = lesion_place()
    probability = torch.full(SHAPE, 0.4, requires_grad=True)
    slope = torch.autograd.grad(lesion_loss(probability, place), probability)[0][0, 0]
    assert float(slope[1, 10, 3]) > float(slope[12, 10, 3]) > 0


def test_presets_are_the_documents():
    assert {
        "stroke": Preset(1.0, 1.2, 3.0), "brain_tumour": Preset(1.5, 0.5, 2.0), "bone_tumour": Preset(0.5, 2.0, 2.0),
        "metastasis": Preset(1.0, 1.0, 3.0),
    } == PRESETS  # fmt: skip


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_weighs_every_part(name):
    parts = regions(lesion_place())
    image, one = texture(3), Preset(1.0, 1.0, 1.0)
    plain, weighed = (region_losses(image, parts, preset, head) for preset in (one, PRESETS[name]))
    ratios = {part: float(weighed[part] / plain[part]) for part in plain}
    assert ratios == pytest.approx(PRESETS[name]._asdict())


def test_the_preset_of_the_settings_is_used():
    changes = {
        name: guided(regions(), {"preset": name, "step_size": 0.2}) - guided(regions(), steps=0)
        for name in ("brain_tumour", "bone_tumour")
    }
    in_bone = {name: float((change * mask(0, 6)).abs().sum()) for name, change in changes.items()}
    assert in_bone["bone_tumour"] == pytest.approx(4 * in_bone["brain_tumour"], rel=1e-3)


def test_the_step_size_scales_the_change():
    small, large = (guided(regions(), {"preset": "stroke", "step_size": size}) for size in (0.1, 0.3))
    start = guided(regions(), steps=0)
    assert (large - start) == pytest.approx(3 * (small - start), abs=1e-5)
    assert torch.equal(guided(regions(), {"preset": "stroke", "step_size": 0.0}), start)


def test_a_small_region_is_moved_as_much_as_a_large_one():
    parts = regions()
    small = parts._replace(brain=mask(8, 10))
    changes = [(guided(one) - guided(one, steps=0))[:, :, 8:10].abs().mean() for one in (parts, small)]
    assert 0.3 < float(changes[1] / changes[0]) < 3


def test_guidance_works_inside_inference_mode():
    with torch.inference_mode():
        assert float((guided(regions()) - guided(regions(), steps=0)).abs().max()) > 0
