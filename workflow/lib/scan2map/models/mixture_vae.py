"""Variational autoencoder of one voxel with a learned Gaussian-mixture prior, alone or given its neighbours.

The decoder belongs to the caller's physics: it ends in unbounded numbers that a signal model turns into signals.

References:
    Kingma, Welling, ICLR (2014); Jiang et al., IJCAI (2017), mixture prior; Sohn et al., NeurIPS (2015), conditional
    prior.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

LOG_SCALE_RANGE = (-3.0, 3.0)
# Share of the largest element that is added to the diagonal of an information matrix or a covariance: rounding to
# single precision moves eigenvalues by about a tenth of it.
JITTER = 1e-6
LOG_VARIANCE_RANGE = (-12.0, 4.0)


class Mixture(NamedTuple):
    """A mixture of Gaussians per voxel: log weights (n, k), means and log variances (n, k, latent)."""

    log_weights: torch.Tensor
    means: torch.Tensor
    log_variances: torch.Tensor

    def log_joint(self, latent: torch.Tensor) -> torch.Tensor:
        """ln π_k + ln N(z; m_k, s_k²) for z (n, latent): (n, k)."""
        return self.log_weights + normal_log_density(latent[:, None], self.means, self.log_variances)


def normal_log_density(value, mean, log_variance) -> torch.Tensor:
    """ln N(value; mean, exp(log_variance)) summed over the last axis."""
    squares = (value - mean) ** 2 * (-log_variance).exp()
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(-1)


def perceptron(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """``depth`` hidden layers of SiLU units and a linear layer."""
    layers: list[nn.Module] = []
    for size in [inputs, *[width] * (depth - 1)]:
        layers += [nn.Linear(size, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Neighbourhood(nn.Module):
    """Attention of a voxel to its neighbours, its own signal left out: what they say about it, (n, width).

    Without the voxel's own signal its noise cannot pass, so that the result may serve as a prior (the blind spot of
    Laine et al., NeurIPS (2019)).

    Args:
        features: per neighbour; the last one is 1 where there is a neighbour.
        neighbours: how many, in a fixed order.
        width: features inside.
        heads: independent weightings.
    """

    def __init__(self, features: int, neighbours: int, width: int, heads: int = 4):
        super().__init__()
        self.place = nn.Parameter(0.1 * torch.randn(neighbours, width))
        self.embed = nn.Linear(features, width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.score = nn.Linear(2 * width, heads)
        self.leave = nn.Sequential(nn.Linear(heads * width, width), nn.SiLU())

    def forward(self, neighbours: torch.Tensor) -> torch.Tensor:
        """Summary (n, width) of neighbours (n, neighbours, features)."""
        here = neighbours[..., -1:]
        tokens = self.mix(self.embed(neighbours) + self.place)
        mean = (here * tokens).sum(1, keepdim=True) / here.sum(1, keepdim=True).clamp_min(1)
        scores = self.score(torch.cat([tokens, mean.expand_as(tokens)], -1))
        weights = scores.masked_fill(here == 0, -1e4).softmax(1)
        return self.leave(torch.einsum("nth,ntw->nhw", weights, tokens).flatten(1))


class Posterior(NamedTuple):
    """A Gaussian per voxel: mean (n, latent) and lower Cholesky factor (n, latent, latent) of its covariance."""

    mean: torch.Tensor
    factor: torch.Tensor

    def sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A draw, and its log density."""
        noise = torch.randn_like(self.mean)
        log_volume = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_density = normal_log_density(noise, torch.zeros_like(noise), torch.zeros_like(noise)) - log_volume
        return self.mean + (self.factor @ noise[..., None])[..., 0], log_density


def with_jitter(matrix: torch.Tensor) -> torch.Tensor:
    """Symmetric matrices (n, d, d) with a little more on the diagonal."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return matrix + torch.diag_embed(JITTER * diagonal.amax(-1, keepdim=True).expand_as(diagonal))


def combine(precision: torch.Tensor, pull: torch.Tensor, prior: Mixture) -> Posterior:
    """A Gaussian likelihood times a mixture of Gaussians, as the Gaussian with the product's mean and covariance.

    Args:
        precision: Λ (n, latent, latent) of the likelihood; may be singular.
        pull: Λ times its mode (n, latent).
        prior: the mixture.
    """
    inverse = (-prior.log_variances).exp()
    total = precision[:, None] + torch.diag_embed(inverse)
    cholesky = torch.linalg.cholesky(total)
    right = pull[:, None] + inverse * prior.means
    means = torch.cholesky_solve(right[..., None], cholesky)[..., 0]
    log_volume = cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    fit = (right * means - inverse * prior.means**2 - prior.log_variances).sum(-1)
    weights = (prior.log_weights + 0.5 * fit - log_volume).softmax(-1)
    mean = (weights[..., None] * means).sum(1)
    away = means - mean[:, None]
    spread = torch.cholesky_inverse(cholesky) + away[..., :, None] * away[..., None, :]
    covariance = (weights[..., None, None] * spread).sum(1)
    return Posterior(mean, torch.linalg.cholesky(with_jitter(covariance)))


class Reading(NamedTuple):
    """What a network says of n voxels.

    Attributes:
        samples: unbounded numbers (count, n, outputs) of draws of the posterior.
        latents: posterior mean of what the mixture describes of z (n, latent).
        membership: probability (n, components) of each component there.
    """

    samples: torch.Tensor
    latents: torch.Tensor
    membership: torch.Tensor


class PriorStart(NamedTuple):
    """Where the learned prior starts: means and log variances (components, learned outputs), logits (components,)."""

    centres: torch.Tensor
    log_variances: torch.Tensor
    logits: torch.Tensor


class MixtureVae(nn.Module):
    """Posterior q(z | voxel), prior p(z) = Σ π_k N(m_k, s_k²), and a decoder from z to unbounded numbers.

    The first features are a voxel-wise estimate of the outputs and its information (inverse covariance). The posterior
    is that of this Gaussian likelihood and the prior, moved and scaled by what an encoder learns (nothing, at the
    start): training begins at empirical Bayes, and a voxel far from all components keeps its estimate.

    Outputs that are told relative to the voxel's own data (its scale, turns away from its own direction) are estimated
    as zero in every voxel, whatever the noise; a prior that learned their spread would shrink to a point and take the
    noise of the reference for known. They stay out of the mixture: z holds them as they are, under a fixed standard
    normal prior.

    Given neighbours, the prior is p(z | neighbours), its weights and components moved by what they say: with a prior
    that ignores them the best posterior would ignore them as well.

    Args:
        features: per voxel.
        outputs: unbounded numbers.
        learned: first and last + 1 of the outputs that the mixture describes.
        latent: dimensions of z that the mixture describes.
        start: of the prior.
        width: units of each hidden layer.
        depth: hidden layers of the encoder.
        neighbours: tokens beside the voxel's own; 0 for the voxel alone.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        learned: tuple[int, int],
        latent: int,
        start: PriorStart,
        width: int,
        depth: int,
        neighbours: int = 0,
    ):
        super().__init__()
        self.outputs, self.learned, self.latent, self.components = outputs, slice(*learned), latent, len(start.logits)
        inner = learned[1] - learned[0]
        self.fixed = outputs - inner
        seen, context = features - outputs**2, width if neighbours else 0
        self.encoder = perceptron(seen + context, width, depth, 2 * (latent + self.fixed))
        self.decoder = perceptron(latent, width, 1, inner)
        self.outward = nn.Linear(latent, inner)
        self.centres = nn.Parameter(torch.zeros(self.components, latent))
        self.log_variances = nn.Parameter(torch.zeros(self.components, latent))
        self.logits = nn.Parameter(start.logits.clone())
        if neighbours:
            self.neighbourhood = Neighbourhood(seen, neighbours, width)
            self.condition = nn.Linear(width, self.components * (2 * latent + 1))
        self._start_at_the_estimate(start)

    @torch.no_grad()
    def _start_at_the_estimate(self, start: PriorStart) -> None:
        nn.init.eye_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)
        for last in (self.encoder[-1], self.decoder[-1], *([self.condition] if hasattr(self, "condition") else [])):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        shared = min(self.latent, start.centres.shape[1])
        self.centres[:, :shared] = start.centres[:, :shared]
        self.log_variances[:, :shared] = start.log_variances[:, :shared]

    def seen(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens without the information, which is used as it is."""
        return torch.cat([tokens[..., : self.outputs], tokens[..., self.outputs + self.outputs**2 :]], -1)

    def context(self, tokens: torch.Tensor) -> torch.Tensor | None:
        """What the neighbours in tokens (n, 1 + neighbours, features) say; None without neighbours."""
        return self.neighbourhood(self.seen(tokens[:, 1:])) if tokens.shape[1] > 1 else None

    def prior(self, count: int, context: torch.Tensor | None) -> Mixture:
        """The prior of ``count`` voxels; the last dimensions of z are those of the fixed outputs."""
        weights = self.logits.expand(count, -1)
        means, spreads = self.centres.expand(count, -1, -1), self.log_variances.expand(count, -1, -1)
        if context is not None:
            change = self.condition(context).unflatten(-1, (self.components, -1))
            weights = weights + change[..., 0]
            means, spreads = means + change[..., 1 : 1 + self.latent], spreads + change[..., 1 + self.latent :]
        means, spreads = (nn.functional.pad(part, (0, self.fixed)) for part in (means, spreads))
        return Mixture(weights.log_softmax(-1), means, spreads.clamp(*LOG_VARIANCE_RANGE))

    def posterior(self, tokens: torch.Tensor, context: torch.Tensor | None, prior: Mixture) -> Posterior:
        """q(z | voxel)."""
        own = tokens[:, 0]
        start = Posterior(*(part.to(own.dtype) for part in self._product(own.double(), prior)))
        seen = self.seen(own)
        shift, scale = self.encoder(seen if context is None else torch.cat([seen, context], -1)).chunk(2, -1)
        mean = start.mean + (start.factor @ shift[..., None])[..., 0]
        return Posterior(mean, start.factor * scale.clamp(*LOG_SCALE_RANGE).exp()[:, None])

    def _product(self, own: torch.Tensor, prior: Mixture) -> Posterior:
        """The posterior before the encoder's part; in double precision, as information spans many orders."""
        matrix, bias = self._linear()
        information = own[:, self.outputs : self.outputs + self.outputs**2].unflatten(-1, (self.outputs, -1))
        carried = matrix.T @ with_jitter(information)
        pull = (carried @ (own[:, : self.outputs] - bias)[..., None])[..., 0]
        return combine(carried @ matrix, pull, Mixture(*(part.double() for part in prior)))

    def _linear(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The linear part of the decoder for all of z, in double precision: matrix (outputs, z) and offset."""
        weight = self.outward.weight.double()
        before, after = self.learned.start, self.outputs - self.learned.stop
        bias = nn.functional.pad(self.outward.bias.double(), (before, after))
        middle = nn.functional.pad(weight, (0, 0, before, after))
        rest = [row for row in range(self.outputs) if not before <= row < self.learned.stop]
        return torch.cat([middle, torch.eye(self.outputs).to(weight)[:, rest]], -1), bias

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Unbounded numbers (n, outputs) of z."""
        mixed, fixed = latent[:, : self.latent], latent[:, self.latent :]
        before = self.learned.start
        return torch.cat([fixed[:, :before], self.outward(mixed) + self.decoder(mixed), fixed[:, before:]], -1)

    def _both(self, tokens: torch.Tensor) -> tuple[Posterior, Mixture]:
        context = self.context(tokens)
        prior = self.prior(len(tokens), context)
        return self.posterior(tokens, context, prior), prior

    def draw(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unbounded numbers of one sample of the posterior, and ln q(z) − ln p(z) there."""
        posterior, prior = self._both(tokens)
        latent, log_density = posterior.sample()
        return self.decode(latent), log_density - prior.log_joint(latent).logsumexp(-1)

    def read(self, tokens: torch.Tensor, count: int) -> Reading:
        """``count`` samples, place in the latent space and component of each voxel."""
        posterior, prior = self._both(tokens)
        samples = torch.stack([self.decode(posterior.sample()[0]) for _ in range(count)])
        return Reading(samples, posterior.mean[:, : self.latent], prior.log_joint(posterior.mean).softmax(-1))
