"""The distribution behind noisy estimates whose errors are known: a Gaussian mixture by extreme deconvolution.

References:
    Bovy, Hogg, Roweis, Ann Appl Stat 5:1657 (2011).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

ITERATIONS, TOLERANCE = 100, 1e-4  # steps; change of the mean log likelihood at which they end
STARTS = 4
MOST = 4000  # estimates, evenly picked
FURTHEST = 4.0  # standardised estimates beyond it are told as it; their errors keep them from counting much
LOWEST_VARIANCE, LOWEST_WEIGHT = 1e-4, 1e-3


class _State(NamedTuple):
    """Weights (k,), means (k, d) and covariances (k, d, d)."""

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor


def _first(estimates: torch.Tensor, errors: torch.Tensor, components: int, start: int) -> _State:
    """Means by k-means of those estimates that are better known than the median one."""
    from scipy.cluster.vq import kmeans2

    size = errors.diagonal(dim1=-2, dim2=-1).sum(-1)
    known = estimates[size <= size.median()]
    means = torch.from_numpy(kmeans2(known.numpy(), components, minit="++", seed=start)[0])
    spread = known.var(0).clamp_min(LOWEST_VARIANCE) / components
    return _State(
        torch.full((components,), 1 / components).double(), means, torch.diag(spread).expand(components, -1, -1)
    )


def _expect(estimates: torch.Tensor, errors: torch.Tensor, state: _State):
    """Log likelihood (n, k) of each estimate and component, and the true value's mean and covariance given both."""
    total = state.covariances + errors[:, None]
    cholesky = torch.linalg.cholesky(total)
    away = (estimates[:, None] - state.means)[..., None]
    solved = torch.cholesky_solve(away, cholesky)
    log_volume = cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    squares = (away * solved).sum((-2, -1))
    log_density = -0.5 * (squares + estimates.shape[1] * math.log(2 * math.pi)) - log_volume
    means = state.means + (state.covariances @ solved)[..., 0]
    gain = torch.cholesky_solve(state.covariances.expand_as(total), cholesky)
    return state.weights.log() + log_density, means, state.covariances - state.covariances @ gain


def _maximise(share: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor) -> _State:
    """Weights, means and diagonal covariances from the shares (n, k) of every estimate in every component."""
    count = share.sum(0).clamp_min(1e-9)
    centre = (share[..., None] * means).sum(0) / count[:, None]
    spread = (means - centre) ** 2 + covariances.diagonal(dim1=-2, dim2=-1)
    variance = (share[..., None] * spread).sum(0) / count[:, None]
    weights = (count / count.sum()).clamp_min(LOWEST_WEIGHT)
    return _State(weights / weights.sum(), centre, torch.diag_embed(variance.clamp_min(LOWEST_VARIANCE)))


def _climb(estimates: torch.Tensor, errors: torch.Tensor, state: _State) -> tuple[float, _State]:
    """Expectation maximisation from one start: mean log likelihood, and where it ends."""
    before = -math.inf
    for _ in range(ITERATIONS):
        joint, means, covariances = _expect(estimates, errors, state)
        total = joint.logsumexp(-1)
        found = total.mean().item()
        if found - before < TOLERANCE:
            break
        before, state = found, _maximise((joint - total[:, None]).exp(), means, covariances)
    return before, state


@torch.no_grad()
def deconvolve(estimates: torch.Tensor, errors: torch.Tensor, components: int) -> dict[str, list]:
    """The mixture of axis-parallel Gaussians that, widened by each estimate's own errors, explains the estimates best.

    Args:
        estimates: (n, d).
        errors: their covariances (n, d, d).
        components: of the mixture.

    Returns:
        ``centres`` and ``log_variances`` (components, d) and ``logits`` (components,) as plain numbers.
    """
    chosen = torch.linspace(0, len(estimates) - 1, min(MOST, len(estimates))).long()
    estimates, errors = estimates[chosen].clamp(-FURTHEST, FURTHEST).double(), errors[chosen].double()
    climbed = [_climb(estimates, errors, _first(estimates, errors, components, start)) for start in range(STARTS)]
    _, best = max(climbed, key=lambda one: one[0])
    order = best.weights.argsort(descending=True)
    variances = best.covariances.diagonal(dim1=-2, dim2=-1)
    parts = {"centres": best.means, "log_variances": variances.log(), "logits": best.weights.log()}
    return {name: part[order].float().tolist() for name, part in parts.items()}
