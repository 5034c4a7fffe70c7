"""Places in the template and turns on the way there; the mean brain that a network begins from."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scan2map.models.tensor_translation import MIDDLE, TemplateTensor, TensorGenerator
from scan2map.physics.diffusion import rotate_tensor
from scan2map.systems.bssfp_dti import patches, place
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
    return TensorGenerator({"pc_bssfp": 24, "dt": 6}, 4, (4,) * 6, "batch", "batch", 0.0, prior_points=5)


def test_a_network_begins_as_the_mean_brain(network):
    torch.nn.init.normal_(network.prior.lattice, std=0.01)
    image = torch.cat([torch.rand(1, 24, 16, 16, 16), 2 * torch.rand(1, 3, 16, 16, 16) - 1], dim=1)
    expected = network.expected(image, "pc_bssfp")
    assert expected.std() > 0.01
    assert torch.allclose(network.eval()(image, "pc_bssfp"), expected)


def test_what_the_body_wants_does_not_bend_the_mean_brain(network):
    image = torch.rand(1, 27, 16, 16, 16)
    network.eval()(image, "pc_bssfp").square().mean().backward()
    assert network.prior.lattice.grad is None
    assert network.body.final_conv.weight.grad.abs().sum() > 0


def test_a_template_reads_its_lattice_between_its_points():
    template = TemplateTensor((3, 3, 3))
    with torch.no_grad():
        template.lattice[0, 2] = torch.linspace(-1, 1, 3).view(3, 1, 1)  # follows x
    points = torch.zeros(1, 3, 1, 1, 4)
    points[0, 0, 0, 0] = torch.tensor([-1.0, -0.5, 0.25, 3.0])
    found = (template(points, "template")[0, 2, 0, 0] - MIDDLE) / 10
    assert found.tolist() == pytest.approx([-1, -0.5, 0.25, 1])


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
    changes = {"network": {"design": "template", "turned": True}, "stages": {"course": "single"}}
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
