"""Places in the template and turns on the way there; the mean brain that a network begins from."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scan2map.models.tensor_translation import SHIFT, MeanBrain, TensorGenerator
from scan2map.physics.diffusion import rotate_tensor
from scan2map.systems.bssfp_dti import channels, patches, place
from scan2map.systems.bssfp_dti.channels import template_channels
from scan2map.systems.bssfp_dti.mean_brain import mean_lattice, packed, unpacked
from scan2map.training.stream import generator

SHAPE = (30, 36, 28)


def grid_points(linear, shift=(0.0, 0.0, 0.0), size_mm=3.0):
    voxels = np.indices(SHAPE).reshape(3, -1)
    return (linear @ (size_mm * voxels) + np.array(shift)[:, None]).reshape(3, *SHAPE)


def test_a_turned_head_turns_every_voxel_and_a_larger_one_none():
    turn = Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix()
    everywhere = np.ones(SHAPE, bool)
    found = place.template_turns(grid_points(turn, (5, 0, -2)), 3.0, everywhere)
    assert found == pytest.approx(np.broadcast_to(turn, found.shape), abs=1e-5)
    larger = place.template_turns(grid_points(np.diag([1.1, 0.9, 1.2])), 3.0, everywhere)
    assert larger == pytest.approx(np.broadcast_to(np.eye(3), larger.shape), abs=1e-5)


def test_local_turns_agree_with_one_turn_of_everything():
    turn = Rotation.from_euler("z", 25, degrees=True).as_matrix()
    elements = np.random.default_rng(1).standard_normal((6, 20))
    found = place.turn_locally(elements, np.broadcast_to(turn, (20, 3, 3)))
    assert found == pytest.approx(rotate_tensor(elements.T, turn).T)


def brain_of(lattice, turned=False, learned=False):
    return MeanBrain(lattice, torch.zeros(6, 1, 1, 1), torch.ones(6, 1, 1, 1), turned, learned)


def placed(points):
    """Places whose axes are the template's, from coordinates (1, 3, x, y, z)."""
    return torch.cat([points, torch.eye(3).flatten().view(1, 9, 1, 1, 1).expand(-1, -1, *points.shape[2:])], dim=1)


@pytest.fixture
def network():
    torch.manual_seed(1)
    return TensorGenerator(
        {"pc_bssfp": 24, "dt": 6}, 4, (4,) * 6, "batch", "batch", 0.0, brain_of(torch.rand(7, 5, 5, 5))
    )


@pytest.fixture
def image():
    return torch.cat([torch.rand(1, 24, 16, 16, 16), placed(2 * torch.rand(1, 3, 16, 16, 16) - 1)], dim=1)


def test_a_network_begins_as_the_mean_brain(network, image):
    expected = network.expected(image, "pc_bssfp")
    assert expected.std() > 0.1
    assert torch.allclose(network.eval()(image, "pc_bssfp"), expected)


def test_the_mean_brain_is_no_weight(network):
    assert not [name for name in network.state_dict() if name.startswith("prior")]
    assert not [name for name, _ in network.named_parameters() if name.startswith("prior")]


def test_a_network_can_move_the_mean_brain(network, image):
    """With a constant shift in its last layer it reads the mean brain beside the registered place."""
    with torch.no_grad():
        network.body.final_conv.bias[6] = 2.0
    moved = image.clone()
    moved[:, 24] += 2.0 * SHIFT
    assert torch.allclose(network.eval()(image, "pc_bssfp"), network.expected(moved, "pc_bssfp"), atol=1e-6)


def test_a_template_reads_its_lattice_between_its_points():
    lattice = torch.zeros(7, 3, 3, 3)
    lattice[2] = torch.linspace(-1, 1, 3).view(3, 1, 1)  # follows x
    points = torch.zeros(1, 3, 1, 1, 4)
    points[0, 0, 0, 0] = torch.tensor([-1.0, -0.5, 0.25, 3.0])
    found = brain_of(lattice)(placed(points))[0][0, 2, 0, 0]
    assert found.tolist() == pytest.approx([-1, -0.5, 0.25, 1])


def test_a_field_that_is_linear_in_the_template_comes_back_from_its_mean(arrays, settings, constants):
    """Two heads that lie differently in the template, tensors that follow its x: the lattice holds the line."""
    heads = []
    for shift in (0.0, 7.0):
        points = arrays["template_mm"] + np.float32([shift, 0, 0]).reshape(3, 1, 1, 1)
        line = 1 + 0.005 * points[0]
        tensor = np.stack([line, 0 * line, 0 * line, line, 0 * line, line])[None].astype(np.float32)
        heads.append(arrays | {"registered_mm": points, "tensor": tensor})
    chosen = settings(parametrisation="raw", network={"prior_points": 12})
    lattice = mean_lattice(heads, chosen, constants["channels"])
    where = template_channels(torch.tensor([[-20.0, 0.0, 25.0], [0.0, 5.0, -10.0], [0.0, 0.0, 8.0]])[..., None, None])
    found = brain_of(torch.from_numpy(lattice).float())(placed(where[None]))[0][0, 0, :, 0, 0]
    wanted = 1 + 0.005 * torch.tensor([-20.0, 0.0, 25.0])
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=0.03)
    assert np.isfinite(lattice).all()


def test_the_mean_brain_shows_what_the_input_shows(arrays, settings, constants):
    """Brightness of the lattice at the heads' own places is that of the T1w image, which is smooth here."""
    chosen = settings(modality="t1w", network={"prior_points": 24})
    lattice = torch.from_numpy(mean_lattice([arrays], chosen, constants["channels"])).float()
    place = patches.as_subject(arrays, "t1w", "log", 2.0).place[None]
    found = brain_of(lattice)(place)[1][0]
    inside = arrays["mask"] > 0
    wanted = channels.scaled_image(arrays, 0, "t1w", constants["channels"])[0].numpy()
    assert found[0].numpy()[inside] == pytest.approx(wanted[inside], rel=0.1)


def test_a_lattice_travels_as_text():
    lattice = np.random.default_rng(1).uniform(-1, 1, (7, 4, 5, 3))
    text = json.loads(json.dumps(packed(lattice)))
    assert unpacked(text).numpy() == pytest.approx(lattice, abs=0.5 / 256 + 1e-6)


def test_flipped_patches_know_their_place(arrays, settings):
    plain = settings()["patches"] | {"flipped_share": 0, "turned_share": 0}
    centred = arrays | {"registered_mm": arrays["template_mm"] + np.float32([0, -18, 18]).reshape(3, 1, 1, 1)}
    subject = patches.as_subject(centred, "pc_bssfp", "raw", 2.0)
    draws = {"still": plain, "flipped": plain | {"flipped_share": 1}}
    found = {name: patches.Patches([subject], "pc_bssfp", how)(generator(2, 9))["place"] for name, how in draws.items()}
    assert found["flipped"][0].numpy() == pytest.approx(-found["still"][0].flip(0).numpy(), abs=1e-6)
    assert found["flipped"][1].numpy() == pytest.approx(found["still"][1].flip(0).numpy())


def head_turned_by(arrays, turn):
    """The head as it lies turned in the template, voxels of 2 mm."""
    voxels = np.indices(arrays["mask"].shape).reshape(3, -1)
    points = (turn @ (2.0 * voxels)).reshape(3, *arrays["mask"].shape).astype(np.float32)
    return arrays | {"registered_mm": points, "template_mm": points}


def test_a_mean_brain_turns_with_the_head(arrays):
    """One tensor everywhere in the template is the tensor turned back in a head that lies turned there."""
    turn = Rotation.from_euler("xyz", [5, -8, 20], degrees=True).as_matrix()
    tensor = np.array([1.5, 0.2, -0.1, 0.8, 0.1, 0.5])
    lattice = torch.zeros(7, 3, 3, 3)
    lattice[:6] = torch.from_numpy(tensor).view(6, 1, 1, 1)
    where = patches.as_subject(head_turned_by(arrays, turn), "template", "raw", 2.0).place[None]
    still, turned = (brain_of(lattice, turned=one)(where)[0][0, :, 5, 6, 7].numpy() for one in (False, True))
    assert still == pytest.approx(tensor, abs=1e-5)
    assert turned == pytest.approx(rotate_tensor(tensor, turn.T), abs=1e-4)


@pytest.mark.parametrize("change", [{"flipped_share": 1}, {"turned_share": 1, "turn_deg": [5, 5, 30]}])
def test_the_prior_of_a_moved_patch_is_the_moved_prior(arrays, settings, change):
    """Turned or mirrored, image and template: the prior of the patch is that of the still patch, moved as tensors are.

    The template is symmetric in left and right, as the network's patches take it to be.
    """
    turn = Rotation.from_euler("z", 15, degrees=True).as_matrix()
    one = patches.as_subject(head_turned_by(arrays, turn), "pc_bssfp", "raw", 2.0)
    plain = settings()["patches"] | {"flipped_share": 0, "turned_share": 0}
    lattice = torch.zeros(7, 3, 3, 3)
    lattice[:6] = torch.tensor([1.5, 0, 0, 0.8, 0.1, 0.5]).view(6, 1, 1, 1)
    prior = brain_of(lattice, turned=True)
    still, moved = (patches.Patches([one], "pc_bssfp", how)(generator(2, 9)) for how in (plain, plain | change))
    before, after = (prior(sample["place"][None])[0][0, :, 16, 16, 16].numpy() for sample in (still, moved))
    if "flipped_share" in change:
        wanted = before * [1, -1, -1, 1, 1, 1]
    else:
        rng = generator(2, 9)
        rng.integers(1), rng.integers(len(one.voxels)), rng.integers(2), rng.integers(2), rng.random(2)
        own = Rotation.from_euler("xyz", rng.uniform(-1, 1, 3) * change["turn_deg"], degrees=True).as_matrix()
        wanted = rotate_tensor(before, own.T)
    assert after == pytest.approx(wanted, abs=2e-3)
    assert np.abs(after - before).max() > 0.01
