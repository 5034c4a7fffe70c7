"""A scan ready for the networks: voxels to explain, what the network sees of them, what is true where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from scan2map.systems.dwi_vae.identifiability import require_identifiable
from scan2map.systems.dwi_vae.least_squares import Fit, fit_voxels
from scan2map.systems.dwi_vae.signal_models import SignalModel, Tissue
from scan2map.systems.dwi_vae.voxels import (
    Acquisition,
    Voxels,
    average_shells,
    below,
    frames_about,
    principal_directions,
    relative_voxels,
)

# Offsets of the 26 neighbours of a voxel, always in this order.
OFFSETS = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)])
# A fit that ran to the edge of an interval is told as this unbounded number, and its spread within these shares of it.
FURTHEST_ESTIMATE = 4.0
PRECISION_RANGE = (1e-4, 1.0)


@dataclass(frozen=True)
class Scan:
    """A scan.

    Attributes:
        model: its signal model.
        voxels: measurements in float64 (direction averages where the model has no direction). Their frames begin with
            the direction of ``fit``.
        fit: maximum likelihood, voxel by voxel.
        features: what a network sees of each voxel (n, f); the last column is 1.
        neighbours: index of the 26 neighbours (n, 26), −1 where there is none; no columns where they are not used.
        truth, label, names: true parameters, group of each voxel and the names of groups, where they are known.
    """

    model: SignalModel
    voxels: Voxels
    fit: Fit
    features: torch.Tensor
    neighbours: torch.Tensor
    truth: Tissue | None = None
    label: torch.Tensor | None = None
    names: tuple[str, ...] = ()

    def with_truth(self, truth: Tissue, label: torch.Tensor, names: tuple[str, ...]) -> Scan:
        """The same scan with what is true about it."""
        return replace(self, truth=truth, label=label, names=names)

    def tokens(self, index) -> torch.Tensor:
        """The voxels' own features, then their neighbours' (absent ones are zero): (n, 1 + neighbours, f')."""
        own = self.features[index][:, None]
        near = self.neighbours[index]
        tokens = torch.cat([own, self.features[near.clamp_min(0)] * (near >= 0)[..., None]], 1)
        return self._with_directions(tokens, index, near) if self.model.directional else tokens

    def _with_directions(self, tokens, index, near) -> torch.Tensor:
        """Before the last column, how far each neighbour's direction turns away, along both axes across the own one."""
        frames = self.voxels.frames[index].to(tokens)
        axes = self.voxels.frames[near.clamp_min(0)][..., 0].to(tokens)
        local = torch.einsum("nkc,ncd->nkd", axes, frames)
        across = torch.where(local[..., :1] < 0, -1.0, 1.0) * local[..., 1:] * (near >= 0)[..., None]
        across = torch.nn.functional.pad(across, (0, 0, 1, 0))
        return torch.cat([tokens[..., :-1], across, tokens[..., -1:]], -1)

    def block(self, index) -> dict[str, torch.Tensor]:
        """Some voxels as a training sample, in single precision."""
        part = self.voxels.take(index)
        block = {"signals": part.signals, "sigma": part.sigma, "frames": part.frames, "tokens": self.tokens(index)}
        if self.truth is not None:
            block["truth"] = self.truth.values[index]
        return {name: value.float() for name, value in block.items()}


def neighbour_index(mask: np.ndarray) -> torch.Tensor:
    """Place of the 26 neighbours of every voxel of a mask among the mask's voxels (n, 26); −1 outside."""
    number = np.full(np.add(mask.shape, 2), -1, dtype=np.int64)
    inner = (slice(1, -1),) * 3
    number[inner][mask] = np.arange(int(mask.sum()))
    places = np.argwhere(mask) + 1
    return torch.from_numpy(number[tuple(np.moveaxis(places[:, None] + OFFSETS, -1, 0))])


def _shape_features(voxels: Voxels) -> torch.Tensor:
    """Means of each shell against Legendre polynomials P0, P2 and P4 of the angle to the first guess: (n, 3 shells)."""
    acquisition, found = voxels.acquisition, []
    cosine = torch.einsum("mc,nc->nm", acquisition.directions, voxels.frames[:, :, 0])
    square = cosine**2
    polynomials = (torch.ones_like(square), 1.5 * square - 0.5, 4.375 * square**2 - 3.75 * square + 0.375)
    for shell in acquisition.shells[1:]:
        members = acquisition.b_values == shell
        found += [(voxels.signals * polynomial)[:, members].mean(1) for polynomial in polynomials]
    return torch.stack(found, -1)


def voxel_features(model: SignalModel, voxels: Voxels, fit: Fit, design: str) -> torch.Tensor:
    """What a network sees: signals alone (published designs), or the fit with its information, signals and noise."""
    ones = torch.ones_like(voxels.sigma)
    if design != "mixture":
        return torch.cat([voxels.signals, ones], -1).float()
    signals = _shape_features(voxels) if model.directional else voxels.signals
    ranges = fit.free.new_tensor([parameter.high - parameter.low for parameter in model.parameters])
    precision = (fit.standard_deviation / ranges).clamp(*PRECISION_RANGE).log10()
    estimate = torch.nn.functional.pad(
        fit.free[:, : len(model.parameters)].clamp(-FURTHEST_ESTIMATE, FURTHEST_ESTIMATE), (0, 2 * model.directional)
    )
    return torch.cat([estimate, fit.information.flatten(1), precision, signals, voxels.sigma.log10(), ones], -1).float()


def prepare_scan(
    model: SignalModel, signals, sigma, acquisition: Acquisition, mask: np.ndarray | None, settings: Mapping[str, Any]
) -> Scan:
    """Fit every voxel by itself and lay out what the networks see.

    Args:
        model: the signal model.
        signals: (n, m) volumes in scanner units.
        sigma: noise of one channel, scanner units: a number or (n,).
        acquisition: each volume by itself.
        mask: (x, y, z) where the voxels lie, in C order; None for voxels without a place.
        settings: the system's settings.

    Raises:
        DataError: the shells cannot carry the model.
    """
    signals = torch.as_tensor(signals, dtype=torch.float64)
    b_max = settings["b_max_s_per_mm2"]
    require_identifiable(model, Acquisition(*(part[acquisition.b_values <= b_max] for part in acquisition)))
    guess = principal_directions(signals, acquisition) if model.directional else None
    voxels = below(relative_voxels(signals, sigma, acquisition, guess), b_max)
    voxels = voxels if model.directional else average_shells(voxels)
    fit = fit_voxels(model, voxels, "rician")
    if model.directional:
        voxels = replace(voxels, frames=frames_about(fit.tissue.direction))
    network = settings["network"]
    near = torch.zeros(len(signals), 0, dtype=torch.long)
    if network["spatial"] and mask is not None:
        near = neighbour_index(mask)
    return Scan(model, voxels, fit, voxel_features(model, voxels, fit, network["design"]), near)
