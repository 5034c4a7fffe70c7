"""Networks: what they are, that tiles agree with whole slices, and what the loss counts."""

import pytest
import torch

from scan2map.models.deep_asl import DeepAsl
from scan2map.models.dilated_denoiser import DilatedDenoiser
from scan2map.models.guided_denoiser import GuidedDenoiser, tissue_regression
from scan2map.systems import load_system
from scan2map.systems.asl_denoise.losses import contrast_bias, plain_error, share_left
from scan2map.systems.asl_denoise.tiles import brain_box, denoise, estimate_noise

NETWORKS = {
    "deepasl": lambda: DeepAsl(1, 6, 8),
    "dilated": lambda: DilatedDenoiser(1, 4),
    "guided": lambda: _stirred(GuidedDenoiser(1, 6, 3)),
}


def _stirred(network):
    """A network that starts as a mean of its estimates, with weights in its last layer."""
    torch.nn.init.normal_(network.last.weight, std=0.3)
    return network


def _given(network, batch, *size):
    """What a network is given: random differences, M0 about 1, random tissue shares."""
    noisy, grey = torch.randn(batch, 1, *size), torch.rand(batch, 1, *size)
    return torch.cat([noisy, 0.8 + 0.4 * torch.rand(batch, 1, *size), grey, 1 - grey], 1)[:, : 1 + network.guides]


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
    assert network(_given(network, 2, *size)).shape == (2, 1, *size)


def test_a_voxel_depends_on_its_halo_and_on_nothing_else(network):
    side = 2 * network.halo + 9
    image = _given(network, 1, side, side).requires_grad_()
    network(image)[0, 0, side // 2, side // 2].backward()
    rows = image.grad[0].abs().amax((0, 2)).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (side // 2 - network.halo, side // 2 + network.halo)


@pytest.mark.parametrize("tile", [13, 32])
def test_tiles_have_no_seams(network, tile):
    image = _given(network, 2, 70, 61)
    with torch.inference_mode():
        whole, tiled = estimate_noise(network, image), estimate_noise(network, image, tile)
    assert torch.allclose(whole, tiled, atol=1e-5)
    assert whole.std() > 100 * (whole - tiled).abs().max()


def test_only_the_box_around_the_brain_is_computed_and_that_changes_nothing(network):
    mask = torch.zeros(2, 1, 96, 96)
    mask[:, :, 44:56, 40:60] = 1
    image = _given(GuidedDenoiser, 2, 96, 96)
    noisy, guide = (image * mask).split([1, 3], dim=1)
    with torch.inference_mode():
        boxed = denoise(network, noisy, guide, mask)
        whole = (noisy - network((image * mask)[:, : 1 + network.guides])) * mask
    assert torch.allclose(boxed, whole, atol=1e-5)
    rows, columns = brain_box(mask, 3)
    assert (rows, columns) == (slice(41, 59), slice(37, 63))


def test_regression_finds_the_perfusion_that_tissue_maps_explain():
    torch.manual_seed(2)
    m0, grey = 0.8 + 0.4 * torch.rand(1, 1, 40, 40), torch.rand(1, 1, 40, 40)
    clean = m0 * (1.1 * grey + 0.3 * (1 - grey))
    guide = torch.cat([m0, grey, 1 - grey], 1)
    inner = (..., slice(6, -6), slice(6, -6))
    assert torch.allclose(tissue_regression(clean, guide, 3.0)[inner], clean[inner], atol=0.03)
    noisy = clean + 0.3 * torch.randn_like(clean)
    left = (tissue_regression(noisy, guide, 3.0) - clean)[inner].std()
    assert left < 0.3 * (noisy - clean)[inner].std()


def test_guided_network_starts_as_the_mean_of_its_estimates():
    network = GuidedDenoiser(1, 4, 2)
    given = _given(network, 1, 30, 30)
    estimates, _ = network.estimates(given)
    assert torch.allclose(given[:, :1] - network(given), sum(estimates) / len(estimates), atol=1e-5)


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


def test_contrast_bias_is_the_squared_share_that_is_lost_on_average():
    torch.manual_seed(0)
    contrast = torch.zeros(4, 1, 8, 8)
    contrast[:, :, 3:5, 3:5] = torch.tensor([-1.0, 0.5, 2.0, 0.01])[:, None, None, None]  # the last one hardly counts
    truth = 1 + contrast
    assert contrast_bias(truth, truth, contrast) == 0
    assert contrast_bias(truth - 0.3 * contrast, truth, contrast) == pytest.approx(0.09, rel=1e-4)
    mixed = truth + torch.tensor([0.3, -0.3, 0.0, 5.0])[:, None, None, None] * contrast
    assert contrast_bias(mixed, truth, contrast) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("design", ["deepasl", "guided"])
@pytest.mark.parametrize("delays", [[], [0.5, 1.5, 2.5]])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_loss_weighs_image_and_kinetic_model(denoise_settings, delays, share, design):
    from scan2map.config import merge

    changes = {
        "network": {"design": design},
        "simulation": {"delays_s": delays},
        "loss": {"image_share": share, "tissue_bias": 2.0, "contrast_bias": 3.0},
    }
    settings = merge(denoise_settings, changes)
    training = {"schedule": "constant", "warmup_steps": 0}
    module = load_system("asl_denoise").module(settings, {}, training)
    fractions = torch.zeros(2, 3, 24, 24)
    fractions[:, 1, :, :12], fractions[:, 2, :, 12:] = 1, 1
    parts = module.losses({"fractions": fractions, "voxel_mm": torch.full((2,), 3.0)})
    kinetic = [parts[name] for name in ("cbf", "att") if name in parts]
    assert len(kinetic) == (2 if delays else 1)
    expected = share * parts["image"] + (1 - share) * sum(kinetic) / len(kinetic) + 2 * parts["tissue_bias"]
    expected = expected + 3 * parts["contrast_bias"]
    assert torch.allclose(parts["loss"], expected)
    parts["loss"].backward()
    gradients = [value.grad for value in module.network.parameters()]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0
