"""The inner problem of the kinetic fit: amplitudes at given transit times, and projected Levenberg–Marquardt.

Arrays are (volumes, voxels) and parameters (parameters, voxels), in the order CBF, ATT, arterial blood volume.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl import CBF_UNIT
from scan2map.physics.asl_kinetics import LabelDesign

# Marquardt's damping, relative to the diagonal of JᵀJ: first value, factor of change, and where no step helps any more.
FIRST_DAMPING, DAMPING_FACTOR, LAST_DAMPING = 1e-3, 8.0, 1e8
# A step below this share of the bounds' width ends the iteration.
STEP_TOLERANCE = 1e-7
# Perfusion at which the (weakly non-linear) general kinetic model is linearised for the profile, ml/100g/min.
TYPICAL_CBF = 50.0


class Problem(NamedTuple):
    """Signals of some voxels and what they are fitted with.

    Attributes:
        data: ΔM/M0, (volumes, voxels).
        design: the volumes.
        weights: relative inverse noise variance, (volumes, 1).
        options: a ``FitOptions``.
        offset_s: added to the delays, (voxels,).
        tissue_t1_s: (voxels,).
        low, high: bounds of the parameters, (parameters, voxels).
    """

    data: torch.Tensor
    design: LabelDesign
    weights: torch.Tensor
    options: Any
    offset_s: torch.Tensor
    tissue_t1_s: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def take(self, voxels: torch.Tensor) -> Problem:
        """The problem of some of the voxels."""
        return self._replace(
            data=self.data[:, voxels], offset_s=self.offset_s[voxels], tissue_t1_s=self.tissue_t1_s[voxels],
            low=self.low[:, voxels], high=self.high[:, voxels],
        )  # fmt: skip

    def within(self, att_low_s: torch.Tensor, att_high_s: torch.Tensor) -> Problem:
        """The same problem with narrower bounds of the transit time, (voxels,) each."""
        low, high = self.low.clone(), self.high.clone()
        low[1], high[1] = att_low_s, att_high_s
        return self._replace(low=low, high=high)

    def widths(self) -> torch.Tensor:
        """Width of the options' bounds, (parameters, 1): the scale of a parameter."""
        return torch.tensor([[high - low] for low, high in self.options.bounds()], device=self.data.device)

    def profile_trust(self) -> float:
        """1 where the profile over transit time is (nearly) that of every voxel, infinite where tissue T1 differs."""
        varies = self.options.model != kinetics.CONSENSUS and bool((self.tissue_t1_s != self.tissue_t1_s[0]).any())
        return float("inf") if varies else 1.0

    def evaluate(self, parameters: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Predicted signals and their derivatives with respect to each parameter, (volumes, voxels) each."""
        options = self.options
        signal, by_cbf, by_att = kinetics.signal_jacobian(
            self.design, parameters[0], parameters[1], model=options.model, tissue_t1_s=self.tissue_t1_s,
            delay_offset_s=self.offset_s,
        )  # fmt: skip
        if not options.arterial_component:
            return signal, [by_cbf, by_att]
        arterial = kinetics.arterial_responses(self.design, self._arrival(parameters[1]), self.offset_s)
        return signal + parameters[2] * arterial, [by_cbf, by_att - self._fading(arterial) * parameters[2], arterial]

    def _arrival(self, att_s: torch.Tensor) -> torch.Tensor:
        return torch.clamp(att_s - self.options.arterial_lead_s, min=0)

    def _fading(self, arterial: torch.Tensor) -> torch.Tensor:
        """Loss of the arterial signal per second of later arrival: only continuous label decays on its way."""
        kinds = [kinetics.LABELLING[kind] == kinetics.CONTINUOUS for kind in self.design.kinds]
        return arterial * torch.tensor(kinds, device=arterial.device)[:, None] / self.design.blood_t1_s

    def amplitude_columns(self, att_s: torch.Tensor, tissue_t1_s: torch.Tensor) -> list[torch.Tensor]:
        """Signal per unit of CBF, and of arterial blood volume, at transit times: (volumes, nodes) each."""
        options, offset = self.options, self.offset_s[0]
        rate, _ = kinetics.apparent_rate(options.model, self.design, torch.full_like(att_s, TYPICAL_CBF), tissue_t1_s)
        columns = [kinetics.responses(self.design, att_s, rate, offset).value / CBF_UNIT]
        if options.arterial_component:
            columns.append(kinetics.arterial_responses(self.design, self._arrival(att_s), offset))
        return columns


class Polished(NamedTuple):
    """Parameters (parameters, voxels), cost (voxels,), and whether the iteration converged (voxels,)."""

    parameters: torch.Tensor
    cost: torch.Tensor
    converged: torch.Tensor


def solve_amplitudes(problem: Problem, columns: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Best amplitudes within their bounds at each transit time, and the cost up to a constant, (nodes, voxels) each.

    One amplitude: the clipped least-squares solution. Two: the inner solution where it is allowed, else the best of
    the four edges.
    """
    low, high = problem.low[:, :1], problem.high[:, :1]
    if len(columns) == 1:
        inner = (columns[0] * problem.weights).T @ problem.data
        norm = (columns[0] ** 2 * problem.weights).sum(0)[:, None]
        amplitude = _clipped(inner, norm, low[0], high[0])
        return [amplitude], amplitude * (amplitude * norm - 2 * inner)
    return _two_amplitudes(problem, columns, low[[0, 2]], high[[0, 2]])


def _clipped(inner, norm, low, high):
    return torch.clamp(inner / norm.clamp_min(1e-300), low, high)


def _two_amplitudes(problem: Problem, columns, low, high):
    first, second = ((column * problem.weights).T @ problem.data for column in columns)
    n11, n22, n12 = (
        (one * other * problem.weights).sum(0)[:, None]
        for one, other in ((columns[0], columns[0]), (columns[1], columns[1]), (columns[0], columns[1]))
    )
    determinant = (n11 * n22 - n12**2).clamp_min(1e-300)
    inside = (n22 * first - n12 * second) / determinant, (n11 * second - n12 * first) / determinant
    candidates = [(inside[0].clamp(low[0], high[0]), inside[1].clamp(low[1], high[1]))]
    for edge in (low, high):
        candidates.append((_clipped(first - n12 * edge[1], n11, low[0], high[0]), edge[1].expand_as(first)))
        candidates.append((edge[0].expand_as(first), _clipped(second - n12 * edge[0], n22, low[1], high[1])))
    costs = torch.stack(
        [
            one * (one * n11 + 2 * other * n12 - 2 * first) + other * (other * n22 - 2 * second)
            for one, other in candidates
        ]
    )
    cost, which = costs.min(0)
    chosen = [torch.stack([pair[k] for pair in candidates]).gather(0, which[None])[0] for k in (0, 1)]
    return chosen, cost


def polish(problem: Problem, start: torch.Tensor) -> Polished:
    """Projected Levenberg–Marquardt from one start.

    A parameter that lies on its bound and would leave is held there; steps are clipped to the bounds; only steps that
    lower the cost are taken. Voxels that have converged are left out of the later iterations.

    Args:
        problem: signals and model.
        start: (parameters, voxels).

    Source: Marquardt 1963, SIAM J Appl Math 11:431; projection: Kanzow et al. 2004, J Comput Appl Math 172:375.
    """
    result = Polished(start.clone(), torch.zeros_like(start[0]), torch.zeros_like(start[0], dtype=torch.bool))
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
        cost = (problem.weights * (problem.data - signal) ** 2).sum(0)
        return cls(parameters, signal, tuple(jacobian), cost, damping)

    def take(self, voxels: torch.Tensor) -> _State:
        return _State(
            self.parameters[:, voxels], self.signal[:, voxels], tuple(one[:, voxels] for one in self.jacobian),
            self.cost[voxels], self.damping[voxels],
        )  # fmt: skip

    def where(self, chosen: torch.Tensor, other: _State) -> _State:
        """This state at the chosen voxels, the other elsewhere (damping: this one's everywhere)."""
        return _State(
            torch.where(chosen, self.parameters, other.parameters), torch.where(chosen, self.signal, other.signal),
            tuple(torch.where(chosen, one, two) for one, two in zip(self.jacobian, other.jacobian, strict=True)),
            torch.where(chosen, self.cost, other.cost), self.damping,
        )  # fmt: skip


def _store(result: Polished, voxels: torch.Tensor, state: _State, chosen, converged: bool) -> None:
    result.parameters[:, voxels] = state.parameters[:, chosen]
    result.cost[voxels] = state.cost[chosen]
    result.converged[voxels] = converged


def _step(problem: Problem, state: _State) -> tuple[_State, torch.Tensor]:
    """One trial step: the state after it (unchanged where it did not help), and which voxels are done."""
    low, high = problem.low, problem.high
    residual = problem.weights * (problem.data - state.signal)
    slope = torch.stack([(column * residual).sum(0) for column in state.jacobian])
    held = ((state.parameters <= low) & (slope <= 0)) | ((state.parameters >= high) & (slope >= 0))
    step = damped_step([column * problem.weights.sqrt() for column in state.jacobian], slope, held, state.damping)
    target = (state.parameters + step).clamp(low, high)
    trial = _State.at(problem, target, state.damping)
    better = trial.cost < state.cost
    moved = (target - state.parameters).abs() / problem.widths()
    small = (moved < STEP_TOLERANCE).all(0)
    damping = torch.where(better, state.damping / DAMPING_FACTOR, state.damping * DAMPING_FACTOR)
    after = trial._replace(damping=damping).where(better, state)
    return after, small | (damping > LAST_DAMPING)


def damped_step(columns, slope: torch.Tensor, held: torch.Tensor, damping: torch.Tensor) -> torch.Tensor:
    """Solution of (JᵀJ + μ diag JᵀJ) δ = slope, with held parameters left where they are; (parameters, voxels).

    By a Cholesky factorisation written out over the few parameters, so that it runs over all voxels at once.
    """
    count = len(columns)
    free = (~held).to(slope.dtype)
    matrix = [[(columns[i] * columns[j]).sum(0) * free[i] * free[j] for j in range(i + 1)] for i in range(count)]
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
