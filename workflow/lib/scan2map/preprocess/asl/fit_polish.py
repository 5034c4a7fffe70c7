"""The last step of the kinetic fit: a projected Levenberg–Marquardt iteration over many voxels at once.

Arrays are (volumes, voxels) and parameters (parameters, voxels), in the order CBF, ATT, arterial blood volume.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from scan2map.preprocess.asl.fit_problem import Problem

# Marquardt's damping, relative to the diagonal of JᵀJ: first value, factor of change, and where no step helps any more.
FIRST_DAMPING, DAMPING_FACTOR, LAST_DAMPING = 1e-4, 10.0, 1e6
# A step below this share of the bounds' width ends the iteration.
STEP_TOLERANCE = 1e-6
# So does a step that lowers the cost by less than this share: far less than the noise.
GAIN_TOLERANCE = 1e-6


class Polished(NamedTuple):
    """What the iteration found.

    Attributes:
        parameters: (parameters, voxels).
        cost: (voxels,).
        converged: whether the iteration ended by itself, (voxels,).
        jacobian: derivatives of the signals there, (parameters, volumes, voxels).
    """

    parameters: torch.Tensor
    cost: torch.Tensor
    converged: torch.Tensor
    jacobian: torch.Tensor


def polish(problem: Problem, start: torch.Tensor) -> Polished:
    """Projected Levenberg–Marquardt from one start.

    A parameter that lies on its bound and would leave is held there; steps are clipped to the bounds; only steps that
    lower the cost are taken. Voxels that have converged are left out of the later iterations.

    Args:
        problem: signals and model.
        start: (parameters, voxels).

    Source: Marquardt 1963, SIAM J Appl Math 11:431; projection: Kanzow et al. 2004, J Comput Appl Math 172:375.
    """
    empty = torch.empty(len(start), *problem.data.shape, dtype=start.dtype, device=start.device)
    result = Polished(start.clone(), torch.zeros_like(start[0]), torch.zeros_like(start[0], dtype=torch.bool), empty)
    active = torch.arange(start.shape[1], device=start.device)
    part, state = problem, _State.at(problem, start, torch.full_like(start[0], FIRST_DAMPING))
    for _ in range(problem.options.iterations):
        state, done = _step(part, state)
        if done.any():
            _store(result, active[done], state, done, True)
            left = torch.nonzero(~done)[:, 0]
            active, part, state = active[left], part.take(left), state.take(left)
        if not len(active):
            break
    _store(result, active, state, slice(None), False)
    return result


class _State(NamedTuple):
    parameters: torch.Tensor
    signal: torch.Tensor
    jacobian: tuple[torch.Tensor, ...]
    cost: torch.Tensor
    damping: torch.Tensor

    @classmethod
    def at(cls, problem: Problem, parameters: torch.Tensor, damping: torch.Tensor) -> _State:
        signal, jacobian = problem.evaluate(parameters)
        cost = problem.cost(signal, parameters[1])
        return cls(parameters, signal, tuple(jacobian), cost, damping)

    def take(self, voxels: torch.Tensor) -> _State:
        return _State(
            self.parameters[:, voxels], self.signal[:, voxels], tuple(one[:, voxels] for one in self.jacobian),
            self.cost[voxels], self.damping[voxels],
        )  # fmt: skip

    def take_over(self, voxels: torch.Tensor, other: _State) -> None:
        """Set some voxels to the other state, all but the damping."""
        self.parameters[:, voxels], self.signal[:, voxels] = other.parameters[:, voxels], other.signal[:, voxels]
        for own, one in zip(self.jacobian, other.jacobian, strict=True):
            own[:, voxels] = one[:, voxels]
        self.cost[voxels] = other.cost[voxels]


def _store(result: Polished, voxels: torch.Tensor, state: _State, chosen, converged: bool) -> None:
    result.parameters[:, voxels] = state.parameters[:, chosen]
    result.cost[voxels] = state.cost[chosen]
    result.converged[voxels] = converged
    for derivative, column in zip(result.jacobian, state.jacobian, strict=True):
        derivative[:, voxels] = column[:, chosen]


def _step(problem: Problem, state: _State) -> tuple[_State, torch.Tensor]:
    """One trial step: the state after it (unchanged where it did not help), and which voxels are done."""
    low, high = problem.low, problem.high
    residual = problem.data - state.signal
    slope = torch.stack([(column * residual).sum(0) for column in state.jacobian])
    slope[1] -= problem.prior_weight * problem.prior_offset_s(state.parameters[1])
    held = ((state.parameters <= low) & (slope <= 0)) | ((state.parameters >= high) & (slope >= 0))
    step = damped_step(state.jacobian, slope, held, state.damping, problem.prior_weight)
    target = (state.parameters + step).clamp(low, high)
    trial = _State.at(problem, target, state.damping)
    better = trial.cost < state.cost
    small = ((target - state.parameters).abs() / problem.widths() < STEP_TOLERANCE).all(0)
    settled = better & (state.cost - trial.cost < GAIN_TOLERANCE * state.cost)
    damping = torch.where(better, state.damping / DAMPING_FACTOR, state.damping * DAMPING_FACTOR)
    trial.take_over(torch.nonzero(~better)[:, 0], state)
    return trial._replace(damping=damping), small | settled | (damping > LAST_DAMPING)


def damped_step(
    columns, slope: torch.Tensor, held: torch.Tensor, damping: torch.Tensor, prior_weight: float = 0.0
) -> torch.Tensor:
    """Solution of (A + μ diag A) δ = slope, with held parameters left where they are; (parameters, voxels).

    A is JᵀJ plus the weight of the prior of the second parameter. By a Cholesky factorisation written out over the
    few parameters, so that it runs over all voxels at once.
    """
    count = len(columns)
    free = (~held).to(slope.dtype)
    matrix = [[(columns[i] * columns[j]).sum(0) * free[i] * free[j] for j in range(i + 1)] for i in range(count)]
    matrix[1][1] = matrix[1][1] + prior_weight * free[1]
    factor: list[list[torch.Tensor]] = []
    solved: list[torch.Tensor] = []
    for i in range(count):
        row: list[torch.Tensor] = []
        for j in range(i):
            row.append((matrix[i][j] - sum(row[k] * factor[j][k] for k in range(j))) / factor[j][j])
        diagonal = matrix[i][i] * (1 + damping)
        empty = diagonal <= 0
        pivot = diagonal - sum(one**2 for one in row)
        row.append(torch.where(empty, 1.0, pivot.clamp_min(1e-300)).sqrt())
        factor.append(row)
        solved.append((slope[i] * free[i] - sum(row[k] * solved[k] for k in range(i))) / row[i])
        solved[i] = torch.where(empty, 0.0, solved[i])
    for i in reversed(range(count)):
        later = sum(factor[k][i] * solved[k] for k in range(i + 1, count))
        solved[i] = (solved[i] - later) / factor[i][i]
    return torch.stack(solved)
