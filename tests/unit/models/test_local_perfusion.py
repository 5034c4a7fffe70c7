"""The predicted weights average what they should, inside the mask only, and noise-free signals stay as they are."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from scan2map.models.local_perfusion import LocalPerfusionNet, average_neighbours


def _net(width=5):
    torch.manual_seed(0)
    return LocalPerfusionNet(features=6, estimates=3, channels=8, blocks=1, width=width)


def _inputs(size=(9, 8), noise=0.3):
    torch.manual_seed(1)
    mask = (torch.rand(2, 1, *size) > 0.2).float()
    return torch.randn(2, 6, *size), 1 + torch.rand(2, 3, *size), torch.full((2, 1, *size), noise), mask


def test_the_average_is_that_of_scipy():
    image, kernel = torch.randn(1, 2, 7, 6), torch.rand(5, 5)
    weights = kernel.reshape(1, 25, 1, 1).expand(-1, -1, 7, 6)
    expected = np.stack([correlate(one.numpy(), kernel.numpy(), mode="constant") for one in image[0]])
    assert average_neighbours(image, weights)[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_weights_sum_to_one_inside_the_mask():
    net, (features, att_s, noise, mask) = _net(), _inputs()
    torch.nn.init.normal_(net.head.conv.weight)
    found = net(features, att_s, noise, mask)
    sums = average_neighbours(torch.ones_like(mask), found.weights)
    interior = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert torch.allclose(sums[interior], torch.ones_like(sums[interior]), atol=1e-5)
    inside = mask > 0
    assert torch.allclose(average_neighbours(mask, found.weights)[inside], mask[inside], atol=1e-5)


def test_without_noise_the_voxel_itself_remains():
    net, (features, att_s, _, mask) = _net(), _inputs()
    found = net(features, att_s, torch.full_like(mask, 1e-3), mask)
    image = torch.rand(2, 1, 9, 8)
    inside = mask > 0
    assert torch.allclose(average_neighbours(image, found.weights)[inside], image[inside], atol=0.01)
    assert torch.allclose(found.att_s[inside], att_s[:, :1][inside], atol=0.01)
