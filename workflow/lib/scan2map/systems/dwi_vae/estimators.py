"""A network with its standardisation and the step from its numbers to tissue parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from scan2map.models.mixture_vae import MixtureVae, PriorStart, Reading
from scan2map.models.published_vae import PlainNetwork, PublishedVae
from scan2map.systems.dwi_vae.scans import OFFSETS
from scan2map.systems.dwi_vae.signal_models import SignalModel, Tissue, signal_model


class Bounded(nn.Module):
    """Every parameter in its interval, S0 included, directions about the first guess; numbers in the features' units.

    Args:
        model: the signal model.
        mean, sd: of the voxel-wise estimates.
    """

    def __init__(self, model: SignalModel, mean: torch.Tensor, sd: torch.Tensor):
        super().__init__()
        self.model, self.size = model, model.free
        self.register_buffer("mean", mean[: model.free], persistent=False)
        self.register_buffer("sd", sd[: model.free], persistent=False)

    def forward(self, numbers: torch.Tensor, frames: torch.Tensor) -> Tissue:
        """Tissue of a network's numbers (n, free)."""
        return self.model.tissue(self.mean + self.sd * numbers, frames)


class Published(nn.Module):
    """As published: softplus, fractions through a sigmoid, S0 taken as the mean b = 0 signal, directions in the lab."""

    def __init__(self, model: SignalModel):
        super().__init__()
        self.model, self.count = model, len(model.parameters) - 1
        self.size = self.count + 3 * model.directional

    def forward(self, free: torch.Tensor, frames: torch.Tensor) -> Tissue:
        """Tissue of a network's numbers."""
        columns = [torch.ones_like(free[:, 0])]
        for column, parameter in zip(free.T, self.model.parameters[1:], strict=False):
            fraction = parameter.low == 0
            columns.append(column.sigmoid() if fraction else parameter.scale * functional.softplus(column))
        direction = functional.normalize(free[:, self.count :], dim=-1) if self.model.directional else frames[:, :, 0]
        return Tissue(torch.stack(columns, -1), direction)


class Estimator(nn.Module):
    """What a package holds.

    Args:
        settings: the system's settings.
        normalisation: ``mean`` and ``sd`` of the features, ``prior`` where the mixture starts, and facts of the
            acquisition.
    """

    def __init__(self, settings: Mapping[str, Any], normalisation: Mapping[str, Any]):
        super().__init__()
        self.model = signal_model(settings["model"])
        network = settings["network"]
        mean, sd = (torch.tensor(normalisation[name]) for name in ("mean", "sd"))
        mixture = network["design"] == "mixture"
        self.to_tissue = Bounded(self.model, mean, sd) if mixture else Published(self.model)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("sd", sd, persistent=False)
        self.core = _core(network, len(mean) + 1, self.to_tissue.size, self.model, normalisation["prior"])

    def standardised(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens with features of mean 0 and standard deviation 1; absent neighbours stay zero."""
        here = tokens[..., -1:]
        return torch.cat([here * (tokens[..., :-1] - self.mean) / self.sd, here], -1)

    def draw(self, tokens: torch.Tensor, frames: torch.Tensor) -> tuple[Tissue, torch.Tensor]:
        """Tissue of one sample of the posterior, and its divergence from the prior."""
        free, divergence = self.core.draw(self.standardised(tokens))
        return self.to_tissue(free, frames), divergence

    def read(self, tokens: torch.Tensor, frames: torch.Tensor, count: int) -> tuple[list[Tissue], Reading]:
        """Tissue of ``count`` samples of the posterior, and all that the network says."""
        reading = self.core.read(self.standardised(tokens), count)
        return [self.to_tissue(free, frames) for free in reading.samples], reading


def _core(
    network: Mapping[str, Any], features: int, outputs: int, model: SignalModel, prior: Mapping[str, Any]
) -> nn.Module:
    width, latent = network["width"], network["latent"]
    if network["design"] == "plain":
        return PlainNetwork(features, outputs, width)
    if network["design"] == "published":
        return PublishedVae(features, outputs, latent, network["components"], width)
    neighbours = len(OFFSETS) if network["spatial"] else 0
    start = PriorStart(*(torch.tensor(prior[name]) for name in PriorStart._fields))
    return MixtureVae(features, outputs, model.tissue_numbers, latent, start, width, network["depth"], neighbours)
