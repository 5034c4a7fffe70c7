"""Places in the template and turns on the way there; the mean brain that a network begins from."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scan2map.models.tensor_translation import TemplateTensor, TensorGenerator
from scan2map.physics.diffusion import rotate_tensor
from scan2map.systems.bssfp_dti import patches, place
from scan2map.systems.bssfp_dti.channels import template_channels
from scan2map.systems.bssfp_dti.mean_brain import mean_lattice, packed, unpacked
from scan2map.systems.bssfp_dti.prediction import Translator
from scan2map.training.stream import generator

SHAPE = (30, 36, 28)


def grid_points(linear, shift=(0.0, 0.0, 0.0), size_mm=3.0):
    voxels = np.indices(SHAPE).reshape(3, -1)
    return (linear @ (size_mm * voxels) + np.array(shift)[:, None]).reshape(3, *SHAPE)


def test_a_turned_head_turns_every_voxel_and_a_larger_one_none():
    turn = Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix()
    found = place.template_turns(grid_points(turn, (5, 0, -2)), 3.0)
    assert found == pytest.approx(np.broadcast_to(turn, found.shape), abs=1e-5)
    larger = place.template_turns(grid_points(np.diag([1.1, 0.9, 1.2])), 3.0)
    assert larger == pytest.approx(np.broadcast_to(np.eye(3), larger.shape), abs=1e-5)


def test_local_turns_agree_with_one_turn_of_everything():
    turn = Rotation.from_euler("z", 25, degrees=True).as_matrix()
    elements = np.random.default_rng(1).standard_normal((6, 4, 5, 3))
    found = place.turn_locally(elements, np.broadcast_to(turn, (4, 5, 3, 3, 3)))
    wanted = np.moveaxis(rotate_tensor(np.moveaxis(elements, 0, -1), turn), -1, 0)
    assert found == pytest.approx(wanted)


@pytest.fixture
def network():
    torch.manual_seed(1)
    return TensorGenerator({"pc_bssfp": 24, "dt": 6}, 4, (4,) * 6, "batch", "batch", 0.0, torch.rand(6, 5, 5, 5))


def test_a_network_begins_as_the_mean_brain(network):
    image = torch.cat([torch.rand(1, 24, 16, 16, 16), 2 * torch.rand(1, 3, 16, 16, 16) - 1], dim=1)
    expected = network.expected(image, "pc_bssfp")
    assert expected.std() > 0.1
    assert torch.allclose(network.eval()(image, "pc_bssfp"), expected)


def test_the_mean_brain_is_no_weight(network):
    assert not [name for name in network.state_dict() if name.startswith("prior")]
    assert not [name for name, _ in network.named_parameters() if name.startswith("prior")]


def test_a_template_reads_its_lattice_between_its_points():
    lattice = torch.zeros(6, 3, 3, 3)
    lattice[2] = torch.linspace(-1, 1, 3).view(3, 1, 1)  # follows x
    points = torch.zeros(1, 3, 1, 1, 4)
    points[0, 0, 0, 0] = torch.tensor([-1.0, -0.5, 0.25, 3.0])
    found = TemplateTensor(lattice)(points, "template")[0, 2, 0, 0]
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
    lattice = mean_lattice(heads, chosen, constants["elements"])
    read = TemplateTensor(torch.from_numpy(lattice).float(), learned=False)
    where = template_channels(torch.tensor([[-20.0, 0.0, 25.0], [0.0, 5.0, -10.0], [0.0, 0.0, 8.0]])[..., None, None])
    found = read(where[None], "template")[0, 0, :, 0, 0]
    low, high = constants["elements"]["raw"]["diagonal"]
    wanted = (1 + 0.005 * torch.tensor([-20.0, 0.0, 25.0]) - low) / (high - low)
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=0.012)
    assert np.isfinite(lattice).all()


def test_a_lattice_travels_as_text():
    lattice = np.random.default_rng(1).uniform(-1, 1, (6, 4, 5, 3))
    text = json.loads(json.dumps(packed(lattice)))
    assert unpacked(text).numpy() == pytest.approx(lattice, abs=1e-3)


def test_flipped_patches_know_their_place(arrays, settings):
    plain = settings()["patches"] | {"flipped_share": 0, "turned_share": 0}
    centred = arrays | {"registered_mm": arrays["template_mm"] + np.float32([0, -18, 18]).reshape(3, 1, 1, 1)}
    subject = patches.as_subject(centred, ("bssfp",), "raw")
    draws = {"still": plain, "flipped": plain | {"flipped_share": 1}}
    found = {name: patches.Patches([subject], "pc_bssfp", how)(generator(2, 9))["place"] for name, how in draws.items()}
    assert found["flipped"][0].numpy() == pytest.approx(-found["still"][0].flip(0).numpy(), abs=1e-6)
    assert found["flipped"][1].numpy() == pytest.approx(found["still"][1].flip(0).numpy())


def test_a_template_that_turns_gives_back_what_it_learned(arrays, settings, constants):
    """A head that lies turned by 20 degrees in the template: learned in the template's axes, predicted in its own."""
    turn = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    voxels = np.indices(arrays["mask"].shape).reshape(3, -1)
    points = (turn @ (2.0 * voxels)).reshape(3, *arrays["mask"].shape).astype(np.float32)
    arrays = arrays | {"registered_mm": points}
    learned = patches.as_subject(arrays, ("registered_mm",), "raw", 2.0).matrices[0].numpy()
    tensor = arrays["tensor"][0].astype(np.float32)
    wanted = np.moveaxis(rotate_tensor(np.moveaxis(tensor, 0, -1), turn), -1, 0)
    assert learned == pytest.approx(wanted, abs=1e-3)
    changes = {"network": {"design": "template", "turned": True, "prior_points": 4}, "stages": {"course": "single"}}
    chosen = settings(modality="template", parametrisation="raw", data={"voxel_size_mm": 2.0}, **changes)

    class Remembers(torch.nn.Module):
        prior = None

        def forward(self, image, modality):
            x, y, z = learned.shape[1:]
            padded = torch.zeros(1, 6, *image.shape[2:])
            padded[0, :, :x, :y, :z] = translator.representation.scale(torch.from_numpy(learned))
            return padded

    translator = Translator(Remembers(), chosen, constants, "cpu")
    back = translator.tensors([translator.scaled(arrays, 0)], arrays["mask"])
    assert back == pytest.approx(tensor * (arrays["mask"] > 0), abs=2e-3)
