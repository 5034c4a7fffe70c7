"""Which weights move in which stage, with which learning rate; resume in the middle; settings that are refused."""

import numpy as np
import pytest
import torch

from scan2map.errors import SettingError
from scan2map.models.tensor_translation import TensorGenerator
from scan2map.systems import load_system
from scan2map.systems.bssfp_dti.losses import structural_loss
from scan2map.systems.bssfp_dti.mean_brain import packed
from scan2map.systems.bssfp_dti.stages import Stage, at_step, learning_rate, plan_stages

SHARES = {"autoencoder_share": 0.3, "head_share": 0.2}


class Run:
    """Steps of a module without Lightning's trainer: optimisers as they are, gradients by torch."""

    def __init__(self, module, monkeypatch):
        self.module = module
        found = module.configure_optimizers()
        monkeypatch.setattr(module, "optimizers", lambda: found)
        monkeypatch.setattr(module, "manual_backward", lambda loss: loss.backward())
        monkeypatch.setattr(module, "record", lambda part, values: None)
        self.generator = found[0]

    def state(self):
        return {name: value.clone() for name, value in self.module.network.state_dict().items()}

    def step(self, batch):
        """Names of the weights (and statistics) of the network that one step changed, and its learning rate."""
        before = self.state()
        self.module.train()
        self.module.training_step(batch, 0)
        after = self.state()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        return changed, self.generator.param_groups[0]["lr"]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.rand((1, 24, 32, 32, 32), generator=generator),
        "matrices": torch.rand((1, 6, 32, 32, 32), generator=generator) - 0.5,
        "mask": torch.ones(1, 1, 32, 32, 32),
        "place": 2 * torch.rand((1, 12, 32, 32, 32), generator=generator) - 1,
    }


@pytest.fixture
def make(settings, training, constants):
    def module(**changes):
        torch.manual_seed(3)
        return load_system("bssfp_dti").module(settings(**changes), constants, training)

    return module


def rooms(names):
    """Parts of the network that names of weights belong to."""
    return {".".join(name.split(".")[: 1 if name.startswith("body") else 2]) for name in names}


def test_each_stage_moves_its_own_weights_at_its_own_rate(make, monkeypatch, batch):
    run = Run(make(), monkeypatch)
    seen = [run.step(batch) for _ in range(10)]
    assert [rooms(changed) for changed, _ in seen[:3]] == [{"heads.dt", "body"}] * 3
    assert [rooms(changed) for changed, _ in seen[3:5]] == [{"heads.pc_bssfp"}] * 2
    assert [rooms(changed) for changed, _ in seen[5:]] == [{"heads.pc_bssfp", "body"}] * 5
    assert [rate for _, rate in seen] == pytest.approx([0.01] * 5 + [0.001] * 5)


def test_the_linear_way_past_the_body_goes_with_its_head(make, monkeypatch, batch, constants):
    constants["mean_brain"] = packed(np.random.default_rng(1).uniform(-1, 1, (7, 4, 4, 4)))
    run = Run(make(network={"prior_points": 4, "turned": True}), monkeypatch)
    seen = [rooms(run.step(batch)[0]) for _ in range(6)]
    own = [{"heads.dt", "direct.dt", "body"}, {"heads.pc_bssfp", "direct.pc_bssfp"}]
    assert seen[2] == own[0]
    assert seen[4] == own[1]
    assert seen[5] == own[1] | {"body"}


def test_a_single_stage_moves_everything_from_the_start(make, monkeypatch, batch):
    run = Run(make(stages={"course": "single"}), monkeypatch)
    assert set(run.module.network.heads) == {"pc_bssfp"}
    assert rooms(run.step(batch)[0]) == {"heads.pc_bssfp", "body"}


def test_the_stage_travels_with_the_weights(make, monkeypatch, batch):
    run = Run(make(), monkeypatch)
    for _ in range(4):
        run.step(batch)
    again = Run(make(), monkeypatch)
    again.module.load_state_dict(run.module.state_dict())
    assert rooms(again.step(batch)[0]) == {"heads.pc_bssfp"}


def test_swapping_the_head_keeps_the_body(settings):
    network = load_system("bssfp_dti").network(settings(), {}).eval()
    image = torch.rand(1, 24, 16, 16, 16)
    tensor = torch.rand(1, 6, 16, 16, 16)
    shapes = {name: network(one, name).shape for name, one in (("pc_bssfp", image), ("dt", tensor))}
    assert set(shapes.values()) == {(1, 6, 16, 16, 16)}
    with pytest.raises(RuntimeError, match="channels"):
        network(tensor, "pc_bssfp")


def test_the_full_size_has_the_documents_51_million_weights():
    with torch.device("meta"):
        network = TensorGenerator({"pc_bssfp": 24, "dt": 6}, 24, (48, 96, 192, 384, 768, 24), "batch", "batch", 0.1)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(51e6, rel=0.01)


def test_losses_of_a_perfect_prediction_vanish(make, batch):
    module = make(loss={"adversarial": 0})
    target, image = module.pair(batch, "pc_bssfp")
    parts = module.generator_losses(target, target, image, batch["mask"], "pc_bssfp")
    assert {name for name in parts if name != "loss"} == {"l1", "ssim", "perceptual"}
    assert parts["loss"].item() == pytest.approx(0, abs=1e-5)


def test_the_structural_loss_is_monais():
    from monai.losses import SSIMLoss

    first, second = torch.rand(2, 6, 12, 13, 14), torch.rand(2, 6, 12, 13, 14)
    theirs = SSIMLoss(spatial_dims=3, data_range=1.0, kernel_type="uniform", win_size=5)(first, second)
    assert structural_loss(first, second, stride=1).item() == pytest.approx(theirs.item(), abs=1e-5)
    assert structural_loss(first, first).item() == pytest.approx(0, abs=1e-6)


def test_the_discriminator_has_five_convolutions_on_image_and_tensor(make):
    judge = make().discriminators["pc_bssfp"]
    convolutions = [one for one in judge.modules() if isinstance(one, torch.nn.Conv3d)]
    assert len(convolutions) == 5
    assert convolutions[0].in_channels == 30
    assert {one.negative_slope for one in judge.modules() if isinstance(one, torch.nn.LeakyReLU)} == {0.2}
    assert judge(torch.rand(1, 30, 32, 32, 32))[-1].ndim == 5


def test_the_last_stage_takes_what_is_left_and_goes_on(settings):
    stages = plan_stages(settings(stages=SHARES), 11)
    assert sum(stage.steps for stage in stages) == 11
    assert at_step(stages, 3)[0].name == "head"
    assert at_step(stages, 40) == (stages[-1], 35)


def test_every_stage_warms_up_and_decays_by_itself(training):
    stage = Stage("finetune", 20, "pc_bssfp", rate=0.1)
    plan = {**training, "schedule": "cosine", "warmup_steps": 2}
    rates = [learning_rate(stage, step, plan) for step in range(20)]
    assert rates[0] == pytest.approx(0.0005)
    assert max(rates) == pytest.approx(0.001)
    assert rates[-1] < 0.1 * max(rates)


@pytest.mark.parametrize(
    "changes",
    [
        {"modality": "dt"},
        {"network": {"design": "voxelwise"}},
        {"network": {"design": "template"}, "stages": {"course": "single"}},
    ],
)
def test_settings_that_do_not_go_together_are_refused(make, changes):
    with pytest.raises(SettingError):
        make(**changes)


def test_medicalnet_features_come_from_a_local_file(make, tmp_path, batch):
    from monai.networks.nets import resnet10

    source = resnet10(spatial_dims=3, n_input_channels=1, feed_forward=False, shortcut_type="B", bias_downsample=False)
    path = tmp_path / "resnet_10.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in source.state_dict().items()}}, path)
    module = make(loss={"medicalnet_file": str(path)})
    assert torch.equal(module.given_features.network.conv1.weight, source.conv1.weight)
    assert not any(parameter.requires_grad for parameter in module.given_features.parameters())
    assert len(module.configure_optimizers()) == 2
    torch.save({"state_dict": {"module.conv1.weight": source.conv1.weight}}, path)
    with pytest.raises(SettingError, match="ResNet-10"):
        make(loss={"medicalnet_file": str(path)})
