"""The parts of the loss between predicted and measured tensor representations; 0 outside the brain.

References:
    [1] Wang et al. 2004, IEEE TIP 13:600 (structural similarity).
    [2] Johnson et al. 2016, ECCV 694 (perceptual loss); Chen et al. 2019, arXiv 1904.00625 (MedicalNet).
    [3] Isola et al. 2017, CVPR 1125 (patch discriminator, adversarial loss).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from scan2map.errors import SettingError
from scan2map.models.tensor_translation import TensorFeatures

SSIM_WINDOW, SSIM_STRIDE = 5, 2
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # of images that range over 1
MEDICALNET_PREFIX = "module."
FEATURE_SEED, FEATURE_WIDTH = 20_267, 8


def masked_l1(predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference over brain voxels and elements."""
    return ((predicted - target).abs() * mask).sum() / (mask.sum() * predicted.shape[1]).clamp_min(1)


def _local_mean(image: torch.Tensor, stride: int) -> torch.Tensor:
    """Mean over cubes of SSIM_WINDOW voxels, axis by axis."""
    for axis in range(3):
        kernel, step = ([size if axis == one else 1 for one in range(3)] for size in (SSIM_WINDOW, stride))
        image = functional.avg_pool3d(image, kernel, stride=step)
    return image


def structural_loss(predicted: torch.Tensor, target: torch.Tensor, stride: int = SSIM_STRIDE) -> torch.Tensor:
    """1 − SSIM of images scaled to about 0 to 1, uniform windows every ``stride`` voxels [1].

    In single precision whatever the training's is (variances are small differences). MONAI's SSIMLoss convolves every
    voxel with the whole cube, which takes longer than a small network.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        first, second = predicted.float(), target.float()
        means = _local_mean(torch.cat([first, second, first**2, second**2, first * second], dim=1), stride)
        mean_1, mean_2, square_1, square_2, product = means.chunk(5, dim=1)
        covariance = product - mean_1 * mean_2
        variances = square_1 - mean_1**2 + square_2 - mean_2**2
        likeness = (2 * mean_1 * mean_2 + SSIM_C1) * (2 * covariance + SSIM_C2)
        return 1 - (likeness / ((mean_1**2 + mean_2**2 + SSIM_C1) * (variances + SSIM_C2))).mean()


def perceptual_loss(
    features: Callable[[torch.Tensor], list[torch.Tensor]], predicted: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Squared distance of features, each level relative to the target's mean square [2].

    Args:
        features: of a frozen network, one tensor per level.
        predicted, target: (batch, 6, x, y, z), masked.
    """
    with torch.no_grad():
        wanted = features(target)
    found = features(predicted)
    parts = [
        functional.mse_loss(one, other) / other.square().mean().clamp_min(1e-8)
        for one, other in zip(found, wanted, strict=True)
    ]
    return torch.stack(parts).mean()


class MedicalNetFeatures(torch.nn.Module):
    """Features of MedicalNet's ResNet-10 of each tensor element [2]; the weights come from a local file.

    Args:
        path: ``resnet_10.pth`` as MedicalNet publishes it.

    Raises:
        SettingError: the file is missing or holds another network.
    """

    def __init__(self, path):
        super().__init__()
        from monai.networks.nets import resnet10

        self.network = resnet10(
            spatial_dims=3, n_input_channels=1, feed_forward=False, shortcut_type="B", bias_downsample=False
        )
        if not Path(path).is_file():
            raise SettingError("MedicalNet's weights are missing", file=path, remedy="set loss.medicalnet_file: null")
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        named = {name.removeprefix(MEDICALNET_PREFIX): value for name, value in state.items()}
        wanted = self.network.state_dict()
        if missing := sorted(set(wanted) - set(named)):
            raise SettingError("The file does not hold MedicalNet's ResNet-10", file=path, found=f"no {missing[0]}")
        self.network.load_state_dict({name: named[name] for name in wanted})
        self.requires_grad_(False).eval()

    def features(self, tensors: torch.Tensor) -> list[torch.Tensor]:
        """One level: the last features of each element as an image of its own."""
        return [self.network(tensors.flatten(0, 1)[:, None])]


def realness_loss(scores: torch.Tensor, real: bool) -> torch.Tensor:
    """Binary cross entropy of a discriminator's patch scores [3]."""
    return functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))


def own_features() -> Callable[[torch.Tensor], np.ndarray]:
    """Features for a Fréchet distance that is the project's own, not Inception's or MedicalNet's.

    The coarsest level of the tensor autoencoder with fixed random weights: the same for every package.

    Returns:
        A function of a scaled tensor image (6, x, y, z) that gives (places, features).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(FEATURE_SEED)
        network = TensorFeatures(FEATURE_WIDTH).eval()

    @torch.inference_mode()
    def features(image: torch.Tensor) -> np.ndarray:
        return network.features(image[None].float())[-1][0].flatten(1).T.double().numpy()

    return features
