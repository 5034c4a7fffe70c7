"""Denoising of whole slices, or of tiles that agree with them exactly: each tile sees all that its voxels depend on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

SLICES_IN_CACHE, MANY = 4, 256


def _spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + tile, length)) for start in range(0, length, tile))


def _padded(start: int, stop: int, halo: int, length: int) -> tuple[slice, slice]:
    """A span with its halo, cut at the image's border, and where the span lies in it."""
    low, high = max(0, start - halo), min(length, stop + halo)
    return slice(low, high), slice(start - low, stop - low)


def with_guide(network: nn.Module, noisy: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """What a network is given: difference images, and the anatomy (``anatomy.as_guide``) if it wants it."""
    return torch.cat([noisy, guide], dim=1) if network.guides else noisy


def slices_at_once(device: torch.device) -> int:
    """Slices that a network takes at a time: on a CPU so few that what its layers pass on stays in the cache."""
    return SLICES_IN_CACHE if device.type == "cpu" else MANY


def estimate_noise(network: nn.Module, given: torch.Tensor, tile: int | None = None) -> torch.Tensor:
    """The network's noise estimate, tile by tile.

    A voxel depends on ``network.halo`` voxels in each direction. A tile with that halo gives the same values as the
    whole slice: there is no seam to blend.

    Args:
        network: with the attributes ``halo`` and ``guides``.
        given: difference images and what the network wants beside them (batch, channels, y, x).
        tile: side of a tile; None for the whole slice at once.
    """
    if tile is None:
        return torch.cat([network(part) for part in given.split(slices_at_once(given.device))])
    noise = torch.empty_like(given[:, : given.shape[1] - network.guides])
    height, width = given.shape[2:]
    for top, bottom in _spans(height, tile):
        rows, inner_rows = _padded(top, bottom, network.halo, height)
        for left, right in _spans(width, tile):
            columns, inner_columns = _padded(left, right, network.halo, width)
            part = network(given[:, :, rows, columns])
            noise[:, :, top:bottom, left:right] = part[:, :, inner_rows, inner_columns]
    return noise


def brain_box(mask: torch.Tensor, halo: int) -> tuple[slice, slice]:
    """The smallest box (y, x) around all brain of a batch (batch, 1, y, x), with a halo."""
    inside = mask[:, 0].amax(0) > 0
    spans = []
    for axis, length in ((1, inside.shape[0]), (0, inside.shape[1])):
        places = inside.any(axis).nonzero()[:, 0].tolist() or [0]
        spans.append(_padded(places[0], places[-1] + 1, halo, length)[0])
    return spans[0], spans[1]


def denoise(
    network: nn.Module, noisy: torch.Tensor, guide: torch.Tensor, mask: torch.Tensor, tile: int | None = None
) -> torch.Tensor:
    """Denoised difference images, 0 outside the brain; only the box around the brain is computed.

    Args:
        network: estimates noise.
        noisy: difference images in network units (batch, channels, y, x).
        guide: anatomy (batch, 3, y, x), 0 outside the brain.
        mask: brain (batch, 1, y, x), 0 or 1.
        tile: as for :func:`estimate_noise`.
    """
    rows, columns = brain_box(mask, network.halo)
    clean = torch.zeros_like(noisy)
    inside = (noisy * mask)[:, :, rows, columns]
    given = with_guide(network, inside, guide[:, :, rows, columns])
    clean[:, :, rows, columns] = inside - estimate_noise(network, given, tile)
    return clean * mask
