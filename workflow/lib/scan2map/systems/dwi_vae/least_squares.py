"""Voxel-wise fits, batched on tensors: least squares and maximum likelihood by Levenberg-Marquardt.

With Rician noise a step replaces the measurement by its expectation given the present signal (expectation
maximisation; Gauss-Newton on the likelihood with the Gaussian information), so that the same step serves both.

References:
    Marquardt, J SIAM 11:431 (1963); Sijbers et al., IEEE Trans Med Imaging 17:357 (1998).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from scan2map.systems.dwi_vae.likelihood import Likelihood, likelihood
from scan2map.systems.dwi_vae.signal_models import SignalModel, Tissue
from scan2map.systems.dwi_vae.voxels import Voxels

CHUNK = 16384
ITERATIONS = 60
TOLERANCE = 1e-7  # relative change of the likelihood's logarithm at which a voxel is done
FIRST_DAMPING, LOWEST_DAMPING, HIGHEST_DAMPING = 1e-2, 1e-8, 1e4
# Unbounded numbers stay where float64 resolves the sigmoid.
FURTHEST = 12.0


class Fit(NamedTuple):
    """A voxel-wise fit.

    Attributes:
        tissue: the parameters.
        free: unbounded numbers (n, free).
        information: (n, free, free) inverse covariance of the unbounded numbers at the solution.
        standard_deviation: (n, p) of the scalars, from it.
        loss: −ln p (n,).
    """

    tissue: Tissue
    free: torch.Tensor
    information: torch.Tensor
    standard_deviation: torch.Tensor
    loss: torch.Tensor


class _Problem:
    """The likelihood of some voxels as a function of their unbounded numbers."""

    def __init__(self, model: SignalModel, voxels: Voxels, noise: str):
        self.model, self.voxels, self.noise = model, voxels, noise
        self.likelihood: Likelihood = likelihood(voxels, noise)
        self.weights = self.likelihood.weights

    def take(self, keep) -> _Problem:
        return _Problem(self.model, self.voxels.take(keep), self.noise)

    def signal(self, free: torch.Tensor) -> torch.Tensor:
        return self.model.signal(self.model.tissue(free, self.voxels.frames), self.voxels)

    def loss(self, free: torch.Tensor) -> torch.Tensor:
        return -self.likelihood.log_probability(self.signal(free))

    def linearised(self, free: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient (n, free) of ln p and its Gauss-Newton information (n, free, free)."""
        tangents = torch.eye(free.shape[1], dtype=free.dtype, device=free.device)
        slopes = [
            torch.func.jvp(lambda u: self.likelihood.expected(self.signal(u)), (free,), (one.expand_as(free),))[1]
            for one in tangents
        ]
        jacobian = torch.stack(slopes, -1)
        weighted = jacobian * self.weights[..., None]
        residual = self.likelihood.residual(self.signal(free))
        return (weighted * residual[..., None]).sum(1), weighted.mT @ jacobian


def _best_start(problem: _Problem) -> torch.Tensor:
    """The most probable of the model's starting values, for each voxel."""
    like = problem.voxels.signals
    starts = problem.model.unbounded(like.new_tensor(problem.model.starts()))
    losses = torch.stack([problem.loss(start.expand(len(like), -1)) for start in starts])
    return starts[losses.argmin(0)]


def _step(gradient: torch.Tensor, information: torch.Tensor, damping: torch.Tensor) -> torch.Tensor:
    diagonal = information.diagonal(dim1=-2, dim2=-1)
    floor = 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-12
    damped = information + torch.diag_embed(damping[:, None] * diagonal + floor)
    return torch.linalg.solve(damped, gradient[..., None])[..., 0]


def _descend(problem: _Problem, free: torch.Tensor, iterations: int) -> torch.Tensor:
    """Damped steps until nothing changes; voxels that are done are left out."""
    active = torch.arange(len(free), device=free.device)
    damping = torch.full_like(free[:, 0], FIRST_DAMPING)
    loss, found, part = problem.loss(free), free.clone(), problem
    for _ in range(iterations):
        now = found[active]
        trial = (now + _step(*part.linearised(now), damping[active])).clamp(-FURTHEST, FURTHEST)
        new = part.loss(trial)
        change = loss[active] - new
        better = change > 0
        found[active[better]], loss[active[better]] = trial[better], new[better]
        damping[active] = (damping[active] * torch.where(better, 0.1, 10.0)).clamp(LOWEST_DAMPING, HIGHEST_DAMPING)
        going = torch.where(better, change > TOLERANCE * (1 + new.abs()), damping[active] < HIGHEST_DAMPING)
        if not going.all():
            active, part = active[going], part.take(going)
        if not len(active):
            break
    return found


def _standard_deviation(problem: _Problem, free: torch.Tensor, information: torch.Tensor) -> torch.Tensor:
    """Standard deviations of the scalars: inverse information, carried through the sigmoid."""
    floor = 1e-9 * information.diagonal(dim1=-2, dim2=-1).amax(-1) + 1e-12
    variance = torch.linalg.inv(information + torch.diag_embed(floor[:, None].expand_as(free))).diagonal(
        dim1=-2, dim2=-1
    )
    values = lambda u: problem.model.tissue(u, problem.voxels.frames).values  # noqa: E731
    slope = torch.func.jvp(values, (free,), (torch.ones_like(free),))[1]
    return slope.abs() * variance[:, : slope.shape[1]].sqrt()


def _fit_chunk(model: SignalModel, voxels: Voxels, noise: str, iterations: int) -> Fit:
    problem = _Problem(model, voxels, noise)
    free = _descend(problem, _best_start(problem), iterations)
    tissue = model.tissue(free, voxels.frames)
    _, information = problem.linearised(free)
    deviation = _standard_deviation(problem, free, information)
    return Fit(tissue, free, information, deviation, problem.loss(free))


@torch.no_grad()
def fit_voxels(model: SignalModel, voxels: Voxels, noise: str, iterations: int = ITERATIONS) -> Fit:
    """Fit every voxel by itself.

    Args:
        model: the signal model.
        voxels: the measurements; their precision is used (float64 is safe).
        noise: ``gaussian`` (weighted least squares) or ``rician`` (maximum likelihood).
        iterations: most steps.
    """
    parts = [
        _fit_chunk(model, voxels.take(slice(first, first + CHUNK)), noise, iterations)
        for first in range(0, len(voxels), CHUNK)
    ]
    tissue = Tissue(*(torch.cat([getattr(part.tissue, name) for part in parts]) for name in Tissue._fields))
    return Fit(tissue, *(torch.cat([getattr(part, name) for part in parts]) for name in Fit._fields[1:]))
