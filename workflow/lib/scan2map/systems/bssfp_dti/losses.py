"""The parts of the loss between predicted and measured tensor representations; 0 outside the brain.

References:
    [1] Wang et al. 2004, IEEE TIP 13:600 (structural similarity).
    [2] Johnson et al. 2016, ECCV 694 (perceptual loss); Chen et al. 2019, arXiv 1904.00625 (MedicalNet).
    [3] Isola et al. 2017, CVPR 1125 (patch discriminator, adversarial loss).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from monai.losses import SSIMLoss
from torch.nn import functional

from scan2map.errors import SettingError

SSIM_WINDOW = 5
MEDICALNET_PREFIX = "module."


def masked_l1(predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference over brain voxels and elements."""
    return ((predicted - target).abs() * mask).sum() / (mask.sum() * predicted.shape[1]).clamp_min(1)


def structural_loss() -> SSIMLoss:
    """1 − SSIM of images scaled to about 0 to 1 [1]."""
    return SSIMLoss(spatial_dims=3, data_range=1.0, kernel_type="uniform", win_size=SSIM_WINDOW)


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
