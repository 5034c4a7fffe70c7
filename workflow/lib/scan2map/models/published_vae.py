"""The networks of arXiv 2411.10772 as its document describes them, for comparison: plain, one Gaussian, mixture.

Three linear layers with ReLU and a head of 256; z of 256 dimensions; a categorical component by Gumbel-softmax with
temperature 2; one linear layer to the parameters. The prior of a component is N(m, 1) with a mean that is drawn once
and not learned.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from scan2map.models.mixture_vae import Reading, normal_log_density

TEMPERATURE = 2.0


def encoder(features: int, width: int) -> nn.Sequential:
    """Three linear layers with ReLU."""
    layers: list[nn.Module] = []
    for size in (features, width, width):
        layers += [nn.Linear(size, width), nn.ReLU()]
    return nn.Sequential(*layers)


class PlainNetwork(nn.Module):
    """Encoder and a linear layer: the self-supervised (or supervised) voxel-wise network.

    Args:
        features: per voxel.
        outputs: unbounded numbers.
        width: units of each layer.
    """

    components = 1

    def __init__(self, features: int, outputs: int, width: int):
        super().__init__()
        self.encoder = encoder(features, width)
        self.head = nn.Linear(width, outputs)

    def draw(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unbounded numbers, and zero divergence."""
        found = self.head(self.encoder(tokens[:, 0]))
        return found, found.new_zeros(len(found))

    def read(self, tokens: torch.Tensor, count: int) -> Reading:
        """The same numbers ``count`` times (no uncertainty is told), the last hidden layer, one component."""
        hidden = self.encoder(tokens[:, 0])
        return Reading(self.head(hidden).expand(count, -1, -1), hidden, tokens.new_ones(len(tokens), 1))


class PublishedVae(nn.Module):
    """VAE-UniG (one component) and VAE-GMM (several).

    Args:
        features: per voxel.
        outputs: unbounded numbers.
        latent: dimensions of z.
        components: K.
        width: units of each layer.
    """

    def __init__(self, features: int, outputs: int, latent: int, components: int, width: int):
        super().__init__()
        self.components = components
        self.encoder = encoder(features, width)
        self.choose = nn.Linear(width, components)
        self.head = nn.Linear(width + components, 2 * latent)
        self.decoder = nn.Linear(latent, outputs)
        centres = torch.randn(components, latent) if components > 1 else torch.zeros(1, latent)
        self.register_buffer("centres", centres)

    def posterior(self, hidden: torch.Tensor, choose) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean, log variance, component weights (by ``choose`` from logits) and log probabilities of components.

        Args:
            hidden: of the encoder (n, width).
            choose: weights from logits.
        """
        logits = self.choose(hidden)
        weights = choose(logits)
        mean, log_variance = self.head(torch.cat([hidden, weights], -1)).chunk(2, -1)
        return mean, log_variance.clamp(-12, 4), weights, logits.log_softmax(-1)

    def _sample(self, hidden: torch.Tensor):
        gumbel = lambda logits: functional.gumbel_softmax(logits, TEMPERATURE)  # noqa: E731
        mean, log_variance, weights, log_probability = self.posterior(hidden, gumbel)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return latent, mean, log_variance, weights, log_probability

    def draw(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unbounded numbers of one sample, and its divergence: z from its component, the component from uniform."""
        latent, mean, log_variance, weights, log_probability = self._sample(self.encoder(tokens[:, 0]))
        prior_mean = weights @ self.centres
        divergence = normal_log_density(latent, mean, log_variance)
        divergence = divergence - normal_log_density(latent, prior_mean, torch.zeros_like(prior_mean))
        category = (
            log_probability.exp() * (log_probability - log_probability.new_tensor(1 / self.components).log())
        ).sum(-1)
        return self.decoder(latent), divergence + category

    def read(self, tokens: torch.Tensor, count: int) -> Reading:
        """``count`` samples; the posterior mean of z at the mean component weights; these weights."""
        hidden = self.encoder(tokens[:, 0])
        samples = torch.stack([self.decoder(self._sample(hidden)[0]) for _ in range(count)])
        mean, _, weights, _ = self.posterior(hidden, lambda logits: logits.softmax(-1))
        return Reading(samples, mean, weights)
