"""Network, training losses, calibration and the protocol at thumbnail size."""

import numpy as np
import pytest
import torch

from scan2map.models.fusion_diffusion import FusionDiffusion, in_slabs, slices, stacks
from scan2map.systems.ctmr_fusion import evaluate, training
from scan2map.training.stream import generator

OPTIONS = {"schedule": "constant", "warmup_steps": 0, "max_steps": 10}


def batch_of(head, settings, count=2):
    drawn = [training.Slabs([head], settings)(generator(2, index)) for index in range(count)]
    return {name: torch.from_numpy(np.stack([one[name] for one in drawn])) for name in drawn[0]}


def test_slices_and_stacks_are_inverse():
    stack = torch.randn(2, 3, 5, 6, 4)
    assert torch.equal(stacks(slices(stack), 4), stack)
    assert torch.equal(slices(stack)[5], stack[1, :, :, :, 1])


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("design", ["spatial", "pooled", "one_pass"])
def test_every_design_gives_an_image(fusion_head, fusion_settings, design, dimensions):
    fusion_settings["network"] |= {"design": design, "dimensions": dimensions}
    batch = batch_of(fusion_head, fusion_settings, 1)
    network = training.build_network(fusion_settings)
    assert network(batch["target"], batch["condition"], torch.tensor([500])).shape == batch["target"].shape


def awaken(network):
    """MONAI starts its last layers at zero: until they have learned, nothing reaches the result."""
    for layer in network.denoiser.modules():
        if isinstance(layer, torch.nn.Conv2d) and not layer.weight.any():
            torch.nn.init.normal_(layer.weight, std=0.1)


def test_pooled_conditions_do_not_know_where_things_are(fusion_head, fusion_settings):
    batch = batch_of(fusion_head, fusion_settings, 1)
    seen, flipped, time = batch["condition"], batch["condition"].flip(2, 3), torch.tensor([500])
    changes = {}
    for design in ("spatial", "pooled"):
        torch.manual_seed(1)
        fusion_settings["network"]["design"] = design
        network = training.build_network(fusion_settings).eval()
        awaken(network)
        noisy = torch.randn_like(batch["target"])
        with torch.no_grad():
            first, other = network(noisy, seen, time), network(noisy, flipped, time)
        changes[design] = float((first - other).abs().mean() / first.abs().mean())
    assert changes["pooled"] < 0.1 * changes["spatial"]


def test_the_one_pass_network_sees_neither_noise_nor_time(fusion_head, fusion_settings):
    fusion_settings["network"]["design"] = "one_pass"
    batch, network = batch_of(fusion_head, fusion_settings, 1), training.build_network(fusion_settings).eval()
    with torch.no_grad():
        images = [network(torch.randn_like(batch["target"]), batch["condition"], torch.tensor([t])) for t in (5, 900)]
    assert torch.equal(*images)


def test_the_lesion_head_sees_neighbouring_slices(fusion_settings):
    network = FusionDiffusion(fusion_settings["network"], 3, 8).eval()
    image = torch.zeros(1, 1, 16, 16, 8)
    changed = image.clone()
    changed[..., 3] = 1
    with torch.no_grad():
        difference = (network.lesion(changed) - network.lesion(image)).abs().amax((0, 1, 2, 3))
    assert float(difference[4]) > 0


def learn(module, losses, batch, names, rate=1e-2):
    """Shares of the first losses that are left after some steps."""
    optimiser = torch.optim.Adam(module.network.parameters(), rate)
    history = []
    for _ in range(20):
        torch.manual_seed(3)
        parts = losses(batch)
        parts["loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
        history.append({name: float(parts[name].detach()) for name in names})
    return [history[-1][name] / history[0][name] for name in names]


def test_every_part_of_the_loss_learns(fusion_head, fusion_settings):
    module = training.FusionModule(training.build_network(fusion_settings), OPTIONS, fusion_settings)
    batch = batch_of(fusion_head, fusion_settings)
    assert learn(module, module.image_losses, batch, ("image", "similarity"))[0] < 0.97
    assert max(learn(module, module.head_losses, batch, ("lesion_fused", "lesion_stacked"))) < 0.97


def test_the_denoiser_learns_first_and_stands_still_while_the_heads_learn(fusion_head, fusion_settings):
    module = training.FusionModule(training.build_network(fusion_settings), OPTIONS, fusion_settings)
    batch = batch_of(fusion_head, fusion_settings, 1)
    learning = {}
    for name, losses in (("denoiser", module.image_losses), ("lesion", module.head_losses)):
        module.zero_grad()
        losses(batch)["loss"].backward()
        learning[name] = {key.split(".")[0] for key, one in module.network.named_parameters() if one.grad is not None}
    assert learning == {"denoiser": {"denoiser"}, "lesion": {"lesion", "lesion_stacked"}}
    assert module.first_steps == 5
    assert set(module.losses(batch)) == {"loss", "image", "similarity"}


def test_each_stage_has_a_decay_of_its_own(fusion_settings):
    options = {"schedule": "cosine", "warmup_steps": 2, "max_steps": 20}
    module = training.FusionModule(training.build_network(fusion_settings), options, fusion_settings)
    rates = [module.rate(step) for step in range(20)]
    assert rates[:10] == rates[10:]
    assert rates[0] == 0.5
    assert rates[9] < 0.1


def test_heads_learn_from_images_of_the_last_half_of_the_sampling(fusion_head, fusion_settings, monkeypatch):
    module = training.FusionModule(training.build_network(fusion_settings), OPTIONS, fusion_settings)
    batch, times = batch_of(fusion_head, fusion_settings), []
    monkeypatch.setattr(module.network, "forward", lambda noisy, seen, time: times.append(time) or noisy)
    for _ in range(20):
        module.head_losses(batch)
    assert 300 < int(torch.cat(times).max()) < 500


def test_without_lesion_weight_the_heads_do_not_learn(fusion_head, fusion_settings):
    fusion_settings["loss"]["lesion"] = 0.0
    network = training.build_network(fusion_settings)
    batch = batch_of(fusion_head, fusion_settings)
    training.FusionModule(network, OPTIONS, fusion_settings).head_losses(batch)["loss"].backward()
    assert all(not weight.grad.any() for weight in network.lesion.parameters() if weight.grad is not None)


def test_a_long_stack_is_read_in_slabs_as_deep_as_those_that_were_learned_from():
    depths = []
    images = torch.randn(1, 1, 4, 4, 20)
    found = in_slabs(lambda part: depths.append(part.shape[-1]) or part, images, 6)
    assert torch.allclose(found, images, atol=1e-6)
    assert set(depths) == {6}
    assert torch.equal(in_slabs(lambda part: 2 * part, images[..., :6], 6), 2 * images[..., :6])


def test_nothing_outside_the_brain_reaches_the_lesion_heads(fusion_head, fusion_settings):
    batch, network = batch_of(fusion_head, fusion_settings, 1), training.build_network(fusion_settings).eval()
    other = torch.where(batch["brain"] > 0, batch["target"], torch.randn_like(batch["target"]))
    with torch.no_grad():
        first, second = (network.lesion_probability(image, batch["brain"]) for image in (batch["target"], other))
    assert torch.equal(first, second)
    assert not first[batch["brain"] == 0].any()


def test_the_share_of_the_ct_reaches_both_ends(fusion_settings):
    """A sigmoid alone leaves a little CT in all of the brain, and a little MRI in all bone."""
    network = training.build_network(fusion_settings).eval()
    seen = torch.stack([torch.full((8, 8, 8), value) for value in (0.2, 0.5, 0.9)])[None]
    for share, expected in ((-2.0, 0.2), (2.0, 0.9)):
        network.denoiser.forward = lambda images, time, share=share: torch.stack(
            [torch.full_like(images[:, 0], share), torch.zeros_like(images[:, 0])], dim=1
        )
        assert network(seen[:, :1], seen, torch.tensor([5])).unique().item() == pytest.approx(expected)


def test_draws_differ_and_repeat(fusion_head, fusion_settings):
    network = training.build_network(fusion_settings).eval()
    awaken(network)
    seen = batch_of(fusion_head, fusion_settings, 1)["condition"]
    with torch.inference_mode():
        first, again = (training.draw_images(network, seen, fusion_settings["sampling"], 2) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])


@pytest.fixture
def table(fusion_head, fusion_settings, monkeypatch):
    monkeypatch.setattr(evaluate, "load_heads", lambda paths: [fusion_head] * len(paths))
    network = training.build_network(fusion_settings).eval()
    with torch.inference_mode():
        return evaluate.evaluate_members([network], ["sub-A.x", "sub-B.x"], fusion_settings, "cpu")


def test_the_protocol_scores_every_method_on_every_subject(table):
    images = table[(table["metric"] == "brain_ssim") & (table["condition"] == "")]
    methods = {"network", "network_ensemble", "network_guided", "average", "weighted", "maximum", "laplacian",
               "roi_composite", "target"}  # fmt: skip
    assert set(images["method"]) == methods
    assert (images.groupby("method")["subject"].nunique() == 2).all()
    assert (images[images["method"] == "roi_composite"]["value"] > 0.9999).all()


def test_the_protocol_has_lesion_free_subjects_strata_and_jitter(table):
    lesions = table[table["metric"] == "dice"]
    assert {"no lesion", "1 to 10 ml"} <= set(lesions["condition"])
    assert {"network", "stacked", "network_guided"} <= set(lesions["method"])
    assert (table[table["metric"] == "ct_change"]["value"] > 0).all()
    assert table[table["metric"] == "seconds"]["condition"].tolist() == ["steps=5", "steps=5 guided"]


def test_guidance_never_sees_the_experts_lesion(fusion_head, fusion_settings):
    case = evaluate.build_case(fusion_head, "A", 3, fusion_settings, evaluate.NO_JITTER)
    network = training.build_network(fusion_settings).eval()
    seen = evaluate.as_tensors(case, "two", "cpu")
    with torch.inference_mode():
        regions = [
            evaluate.regions_of(network, case._replace(scene=case.scene._replace(lesion=lesion)), seen)
            for lesion in (case.scene.lesion, ~case.scene.lesion)
        ]
    assert all(torch.equal(*parts) for parts in zip(*regions, strict=True))
