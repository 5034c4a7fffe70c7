"""Networks: what they are, that tiles agree with whole slices, and what the loss counts."""

import pytest
import torch

from scan2map.models.deep_asl import DeepAsl
from scan2map.models.dilated_denoiser import DilatedDenoiser
from scan2map.systems import load_system
from scan2map.systems.asl_denoise.losses import plain_error, share_left
from scan2map.systems.asl_denoise.tiles import brain_box, denoise, estimate_noise

NETWORKS = {"deepasl": lambda: DeepAsl(1, 6, 8), "dilated": lambda: DilatedDenoiser(1, 4)}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(1)
    return NETWORKS[request.param]().eval()


def test_deepasl_is_the_published_network():
    network = DeepAsl()
    sizes = [tuple(module.weight.shape) for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert sizes == [(48, 1, 3, 3), *[(48, 48, 3, 3)] * 7, (1, 48, 3, 3)]
    assert [module.num_parameters for module in network.modules() if isinstance(module, torch.nn.PReLU)] == [48] * 8


def test_dilated_network_is_the_published_one():
    network = DilatedDenoiser()
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [module.dilation[0] for module in layers] == [1] * 5 + [2, 4, 8, 16] + [1, 1]
    assert [module.out_channels for module in layers] == [64] * 9 + [128, 1]


@pytest.mark.parametrize("size", [(17, 23), (40, 40)])
def test_any_size_passes(network, size):
    assert network(torch.zeros(2, 1, *size)).shape == (2, 1, *size)


def test_a_voxel_depends_on_its_halo_and_on_nothing_else(network):
    side = 2 * network.halo + 9
    image = torch.randn(1, 1, side, side, requires_grad=True)
    network(image)[0, 0, side // 2, side // 2].backward()
    rows = image.grad[0, 0].abs().amax(1).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (side // 2 - network.halo, side // 2 + network.halo)


@pytest.mark.parametrize("tile", [13, 32])
def test_tiles_have_no_seams(network, tile):
    image = torch.randn(2, 1, 70, 61)
    with torch.inference_mode():
        whole, tiled = estimate_noise(network, image), estimate_noise(network, image, tile)
    assert torch.allclose(whole, tiled, atol=1e-5)
    assert whole.std() > 100 * (whole - tiled).abs().max()


def test_only_the_box_around_the_brain_is_computed_and_that_changes_nothing(network):
    mask = torch.zeros(2, 1, 96, 96)
    mask[:, :, 44:56, 40:60] = 1
    image = torch.randn(2, 1, 96, 96)
    with torch.inference_mode():
        boxed, whole = denoise(network, image, mask), (image * mask - network(image * mask)) * mask
    assert torch.allclose(boxed, whole, atol=1e-5)
    rows, columns = brain_box(mask, 3)
    assert (rows, columns) == (slice(41, 59), slice(37, 63))


def test_share_left_is_one_without_denoising_and_does_not_know_units():
    torch.manual_seed(0)
    truth, mask = torch.randn(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    given = truth + torch.randn_like(truth)
    half = (given + truth) / 2
    assert share_left(given, given, truth, mask) == pytest.approx(1.0)
    assert share_left(truth, given, truth, mask) == 0
    for unit in (1.0, 60.0):
        assert share_left(unit * half, unit * given, unit * truth, mask) == pytest.approx(0.25)
    assert plain_error(60 * half, 60 * given, 60 * truth, mask) == pytest.approx(
        3600 * float(plain_error(half, given, truth, mask)), rel=1e-5
    )


@pytest.mark.parametrize("delays", [[], [0.5, 1.5, 2.5]])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_loss_weighs_image_and_kinetic_model(denoise_settings, delays, share):
    from scan2map.config import merge

    changes = {"simulation": {"delays_s": delays}, "loss": {"image_share": share, "tissue_bias": 2.0}}
    settings = merge(denoise_settings, changes)
    training = {"schedule": "constant", "warmup_steps": 0}
    module = load_system("asl_denoise").module(settings, {}, training)
    fractions = torch.zeros(2, 3, 24, 24)
    fractions[:, 1, :, :12], fractions[:, 2, :, 12:] = 1, 1
    parts = module.losses({"fractions": fractions, "voxel_mm": torch.full((2,), 3.0)})
    kinetic = [parts[name] for name in ("cbf", "att") if name in parts]
    assert len(kinetic) == (2 if delays else 1)
    expected = share * parts["image"] + (1 - share) * sum(kinetic) / len(kinetic) + 2 * parts["tissue_bias"]
    assert torch.allclose(parts["loss"], expected)
    parts["loss"].backward()
    assert all(torch.isfinite(value.grad).all() for value in module.network.parameters())
