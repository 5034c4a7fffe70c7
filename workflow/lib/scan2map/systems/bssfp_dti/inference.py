"""A whole volume through a network: overlapping windows whose edges count less, or all at once.

The windows lie on multiples of the network's deepest voxel, so that away from its own border a window sees exactly what
the network sees in the whole volume.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.inferers import sliding_window_inference
from torch.nn import functional

from scan2map.models.tensor_translation import DEEPEST_FACTOR


def _padded(image: torch.Tensor, sides: list[int]) -> torch.Tensor:
    surplus = [side - size for side, size in zip(sides, image.shape[2:], strict=True)]
    return functional.pad(image, [edge for extra in reversed(surplus) for edge in (0, extra)])


def whole_volume(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """The network on the whole image (1, channels, x, y, z), padded to what it can halve."""
    sides = [-(-size // DEEPEST_FACTOR) * DEEPEST_FACTOR for size in image.shape[2:]]
    x, y, z = image.shape[2:]
    return network(_padded(image, sides))[..., :x, :y, :z]


def in_windows(
    network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, window: int, overlap: int, batch: int = 1
) -> torch.Tensor:
    """The network on overlapping windows of an image (1, channels, x, y, z), blended by Gaussian weights.

    Args:
        network: of a batch of windows.
        image: any size; it is padded with zeros so that windows fit.
        window: side of a window, voxels, a multiple of 16.
        overlap: voxels that neighbours share, a multiple of 16.
        batch: windows at once.
    """
    step = window - overlap
    sides = [max(window, window + -(-(size - window) // step) * step) for size in image.shape[2:]]
    x, y, z = image.shape[2:]
    found = sliding_window_inference(
        _padded(image, sides), window, batch, network, overlap=overlap / window, mode="gaussian"
    )
    return found[..., :x, :y, :z]
