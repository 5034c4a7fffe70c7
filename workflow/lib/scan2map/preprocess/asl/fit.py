"""Perfusion and arterial transit time of many voxels at once: bounded least squares, with its uncertainty.

For each voxel, the fit minimises Σⱼ wⱼ (ΔMⱼ − m(CBF, ATT, aBV)ⱼ)² within bounds (as an option, plus the square of the
distance of ATT from a prior, σ² (ATT − μ)² / s²: the most probable values). The signal is linear in CBF (nearly so
in the general kinetic model) but not in ATT, where it has kinks and sometimes several minima. So the cost is first
profiled over a dense grid of transit times with the best CBF at each (variable projection, [1]); the deepest minima
are then polished by a projected Levenberg–Marquardt iteration with analytic derivatives, and the best one stays.

References:
    [1] Golub and Pereyra, Inverse Problems 19:R1 (2003).
    [2] Woods et al., Magn Reson Med 92:469 (2024), recommendations for multi-timepoint ASL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from scan2map.errors import SettingError
from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_design import LabelDesign
from scan2map.preprocess.asl.fit_polish import Polished, polish
from scan2map.preprocess.asl.fit_problem import KINK_GAP_S, Problem
from scan2map.preprocess.asl.fit_profile import Start, profile_starts

OK, AT_BOUND, UNDETERMINED, NOT_CONVERGED = range(4)
STATUS = {
    OK: "converged",
    AT_BOUND: "a parameter lies on its bound",
    UNDETERMINED: "the data do not determine the transit time",
    NOT_CONVERGED: "the iteration did not converge",
}
# Costs that differ by less than this share of the signals' squares are equal.
ROUNDING = 1e-13
# Voxels, evenly spread, that tell the common noise where a prior needs it: their median is good to half a per cent.
NOISE_VOXELS = 10_000
# Voxels that are fitted together: enough that the last few that converge slowly cost little, few enough for memory.
CHUNK_VOXELS = {"cpu": 1 << 16, "cuda": 1 << 18}


@dataclass(frozen=True)
class FitOptions:
    """What is fitted, and within which bounds.

    Attributes:
        model: ``consensus`` (one compartment) or ``general_kinetic``.
        tissue_t1_s: T1 of tissue, s (general kinetic model): a number, or one per voxel.
        arterial_component: fit arterial blood volume as well.
        arterial_lead_s: label reaches the artery of a voxel this long before its tissue, s.
        cbf_bounds: ml/100g/min.
        att_bounds_s: s.
        arterial_bounds: arterial blood volume, ml/ml.
        grid_step_s: spacing of the transit times of the profile, s.
        starts: how many minima of the profile are polished.
        iterations: at most, of the polish.
        att_prior_s: mean and standard deviation of a normal prior of the transit time, s; None for plain least squares.
        noise_sd: σ of one volume of weight 1, relative to M0; None to estimate it from the residual of each voxel.
    """

    model: str = kinetics.CONSENSUS
    tissue_t1_s: float | np.ndarray = 1.3
    arterial_component: bool = False
    arterial_lead_s: float = 0.3
    cbf_bounds: tuple[float, float] = (0.0, 250.0)
    att_bounds_s: tuple[float, float] = (0.0, 4.0)
    arterial_bounds: tuple[float, float] = (0.0, 0.2)
    grid_step_s: float = 0.1
    starts: int = 2
    iterations: int = 30
    att_prior_s: tuple[float, float] | None = None
    noise_sd: float | None = None

    def amplitude_bounds(self) -> list[tuple[float, float]]:
        """Bounds of CBF and, where it is fitted, arterial blood volume."""
        return [self.cbf_bounds, *[self.arterial_bounds] * self.arterial_component]

    def bounds(self) -> list[tuple[float, float]]:
        """Bounds of CBF, ATT and, where it is fitted, arterial blood volume."""
        return [self.cbf_bounds, self.att_bounds_s, *[self.arterial_bounds] * self.arterial_component]


class KineticFit(NamedTuple):
    """What the fit found, float64 tensors (voxels,) on the device of the fit.

    Attributes:
        cbf: perfusion, ml/100g/min.
        att_s: arterial transit time, s.
        arterial_volume: arterial blood volume, ml/ml; None where it was not fitted.
        sd_cbf, sd_att_s, sd_arterial_volume: Cramér–Rao standard deviations; infinite where nothing is determined.
        att_prior_s: mean and standard deviation of a normal prior of the transit time, s; None for plain least squares.
        noise_sd: σ of one volume of weight 1 from the residual (NaN without spare volumes), or the one that was given.
        cost: weighted sum of squared residuals.
        status: see ``STATUS``, int8.
    """

    cbf: torch.Tensor
    att_s: torch.Tensor
    arterial_volume: torch.Tensor | None
    sd_cbf: torch.Tensor
    sd_att_s: torch.Tensor
    sd_arterial_volume: torch.Tensor | None
    noise_sd: torch.Tensor
    cost: torch.Tensor
    status: torch.Tensor


def fit_kinetic(
    difference,
    design: LabelDesign,
    options: FitOptions | None = None,
    *,
    delay_offset_s=0.0,
    weights=None,
    device: str | torch.device | None = None,
) -> KineticFit:
    """Fit CBF and ATT (and arterial blood volume) to difference signals.

    Args:
        difference: ΔM/M0, (voxels, volumes), NumPy array or tensor.
        design: the volumes; any mixture of labelling types, delays and durations.
        options: see :class:`FitOptions`.
        delay_offset_s: added to all delays of a voxel (later slices of a 2-D readout), s: a number, (voxels,), or
            (volumes, voxels) where the volumes were read in different slice orders.
        weights: relative inverse noise variance of each volume, (volumes,); None for equal noise.
        device: where to compute; None for where ``difference`` is.

    Raises:
        SettingError: shapes, bounds, model or weights do not fit together; fewer different volumes than parameters.
    """
    options = options or FitOptions()
    settings = {"delay_offset_s": delay_offset_s, "weights": weights, "device": device}
    problem, spare = as_problem(difference, design, options, **settings)
    if options.att_prior_s is not None:
        noise_sd = options.noise_sd
        if noise_sd is None:
            sample = torch.arange(0, len(spare), -(-len(spare) // NOISE_VOXELS), device=spare.device)
            noise_sd = common_noise_sd(_fit(problem.take(sample), spare[sample], len(design)).noise_sd)
        problem = problem._replace(prior_weight=(noise_sd / options.att_prior_s[1]) ** 2)
    return _fit(problem, spare, len(design))


def _fit(problem: Problem, spare: torch.Tensor, volumes: int) -> KineticFit:
    batches = list(_batches(problem.offset_s))
    parts = [_fit_batch(problem, batch, spare, volumes) for batch in batches]
    order = torch.argsort(torch.cat([voxels for batch in batches for voxels in batch]))
    return KineticFit(*(None if part[0] is None else torch.cat(part)[order] for part in zip(*parts, strict=True)))


def as_problem(
    difference, design: LabelDesign, options: FitOptions, *, delay_offset_s=0.0, weights=None, device=None
) -> tuple[Problem, torch.Tensor]:
    """The least-squares problem of all voxels, repeats of a volume merged, and the scatter of the repeats (voxels,).

    Arguments and errors as in :func:`fit_kinetic`.
    """
    data = torch.as_tensor(difference, device=device)
    weights = np.ones(len(design)) if weights is None else np.asarray(weights, dtype=np.float64)
    _check(data, design, options, weights)
    offset = torch.as_tensor(delay_offset_s, dtype=torch.float64, device=data.device)
    offset = offset.expand(len(offset) if offset.ndim == 2 else 1, len(data))
    merged, once, groups = _merge_repeats(data.T, design, weights, offset)
    if len(offset) > 1:
        offset = offset[[group[0] for group in groups]]
    tissue_t1 = torch.as_tensor(options.tissue_t1_s, dtype=torch.float64, device=data.device).expand(len(data))
    limits = _column(np.array(options.bounds()), data.device).expand(-1, -1, len(data))
    spare = _spare_scatter(data.T, merged, weights, groups)
    root = np.array([weights[group].sum() for group in groups]) ** 0.5
    return Problem(merged, once, options, offset, tissue_t1, *limits.unbind(1)).scaled(root), spare


def common_noise_sd(noise_sd: torch.Tensor) -> float:
    """One σ for all voxels, of a volume of weight 1: the median of the voxels' own.

    Raises:
        SettingError: the residuals say nothing about noise.
    """
    if torch.isnan(noise_sd).any():
        raise SettingError(
            "The noise cannot be told from the residuals", found="as many parameters as volumes",
            remedy="give its standard deviation, or fit without prior and spatial regularisation",
        )  # fmt: skip
    return max(float(noise_sd.median()), 1e-12)


def _check(data: torch.Tensor, design: LabelDesign, options: FitOptions, weights: np.ndarray) -> None:
    if data.ndim != 2 or data.shape[1] != len(design):
        raise SettingError(
            "The signals do not match the design", found=tuple(data.shape), allowed=f"(n, {len(design)})"
        )
    if weights.shape != (len(design),) or not (np.isfinite(weights) & (weights > 0)).all():
        raise SettingError("Weights must be positive, one per volume", found=weights)
    if options.model not in kinetics.MODELS:
        raise SettingError("Unknown kinetic model", found=options.model, allowed=", ".join(kinetics.MODELS))
    if any(not low < high for low, high in options.bounds()) or options.att_bounds_s[0] < 0:
        raise SettingError("Bounds must ascend, and transit times cannot be negative", found=options.bounds())
    different = len(set(_identity(design, weights)))
    if different < len(options.bounds()):
        raise SettingError(
            "Fewer different volumes than parameters", found=f"{different} different delays or kinds of labelling",
            allowed=f"at least {len(options.bounds())}",
            remedy="use the consensus formula for one delay, or leave out the arterial component",
        )  # fmt: skip


def _identity(design: LabelDesign, weights: np.ndarray) -> list[tuple]:
    return list(zip(design.kinds, design.delay_s, design.duration_s, design.efficiency, weights, strict=True))


def _merge_repeats(data: torch.Tensor, design: LabelDesign, weights: np.ndarray, offset: torch.Tensor):
    """Repeats of a volume by their mean: with the sum of their weights, the same least-squares problem, smaller."""
    order = [0] * len(design)
    if len(offset) > 1:
        order = torch.unique(offset, dim=0, return_inverse=True)[1].tolist()
    identity = list(zip(_identity(design, weights), order, strict=True))
    groups = [[j for j, other in enumerate(identity) if other == one] for one in dict.fromkeys(identity)]
    merged = torch.stack([data[group].to(torch.float64).mean(0) for group in groups])
    first = [group[0] for group in groups]
    return merged, design.take(first), groups


def _spare_scatter(data: torch.Tensor, merged: torch.Tensor, weights: np.ndarray, groups: Sequence) -> torch.Tensor:
    """Weighted scatter of repeats about their means, (voxels,): the part of the cost that no fit can change."""
    total = torch.zeros_like(merged[0])
    for mean, group in zip(merged, groups, strict=True):
        if len(group) > 1:
            total += weights[group[0]] * ((data[group] - mean) ** 2).sum(0)
    return total


def _batches(offset: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Voxels that are fitted together, as groups of the same delay offsets (one dictionary): lists of indices."""
    most, batch, count = CHUNK_VOXELS[offset.device.type], [], 0
    own = torch.zeros(offset.shape[1], dtype=torch.int64, device=offset.device)
    for row in torch.unique(offset, dim=0) if len(offset) > 1 else offset:
        values, index = torch.unique(row, return_inverse=True)
        own = torch.unique(own * len(values) + index, return_inverse=True)[1]
    for value in range(int(own.max()) + 1):
        for group in torch.nonzero(own == value)[:, 0].split(most):
            if batch and count + len(group) > most:
                yield batch
                batch, count = [], 0
            batch.append(group)
            count += len(group)
    yield batch


def _column(values: np.ndarray, device) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=device)[..., None]


def _fit_batch(problem: Problem, groups: list[torch.Tensor], spare: torch.Tensor, volumes: int) -> KineticFit:
    profiles = [profile_starts(problem.take(group)) for group in groups]
    order = torch.cat(groups)
    part, edges = problem.take(order), _edges_of_voxels(profiles, groups)
    start, *others = (
        Start(torch.cat([one.parameters for one in same], 1), torch.cat([one.competes for one in same]))
        for same in zip(*(starts for _, starts in profiles), strict=True)
    )
    best = _polish_around(part, start.parameters, edges)
    for other in others:
        voxels = torch.nonzero(other.competes)[:, 0]
        if len(voxels):
            rest = part.take(voxels)
            _keep_better(best, voxels, rest, _polish_around(rest, other.parameters[:, voxels], edges[:, voxels]))
    return summary(part, best, spare[order], volumes)


def _edges_of_voxels(profiles: Sequence, groups: Sequence[torch.Tensor]) -> torch.Tensor:
    """Edges of the smooth segments of every voxel, (edges, voxels); the last one repeated where there are fewer."""
    most = max(len(edges) for edges, _ in profiles)
    padded = [torch.cat([edges, edges[-1:].expand(most - len(edges))]) for edges, _ in profiles]
    return torch.cat([one[:, None].expand(-1, len(group)) for one, group in zip(padded, groups, strict=True)], dim=1)


def _polish_around(problem: Problem, start: torch.Tensor, edges: torch.Tensor) -> Polished:
    """Polish in the smooth segment of the start and, where that ends at a kink, in the segment beyond."""
    segment = (start[1] > edges[1:-1]).sum(0)
    best = _polish_segment(problem, start, segment, edges)
    for side in (-1, 1):
        end = edges.gather(0, (segment + (side > 0))[None])[0]
        beyond = (best.parameters[1] - end).abs() <= 1.5 * KINK_GAP_S
        voxels = torch.nonzero(beyond & (end > edges[0]) & (end < edges[-1]))[:, 0]
        if len(voxels):
            part, restart = problem.take(voxels), best.parameters[:, voxels]
            found = _polish_segment(part, restart, segment[voxels] + side, edges[:, voxels])
            _keep_better(best, voxels, part, found)
    return best


def _polish_segment(problem: Problem, start: torch.Tensor, segment: torch.Tensor, edges: torch.Tensor) -> Polished:
    low, high = (edges.gather(0, (segment + side)[None])[0] for side in (0, 1))
    low, high = (
        torch.where(low > edges[0], low + KINK_GAP_S, low),
        torch.where(high < edges[-1], high - KINK_GAP_S, high),
    )
    start = start.clone()
    start[1] = start[1].clamp(low, high)
    return polish(problem.within(low, high), start)


def _keep_better(best: Polished, voxels: torch.Tensor, part: Problem, found: Polished) -> None:
    """Take over what lowers the cost by more than rounding: of equal minima the first one stays."""
    better = found.cost < best.cost[voxels] - ROUNDING * (part.data**2).sum(0)
    chosen = voxels[better]
    for old, new in zip(best, found, strict=True):
        old[..., chosen] = new[..., better]


def summary(problem: Problem, found: Polished, spare: torch.Tensor, volumes: int) -> KineticFit:
    """Uncertainty, cost and status that belong to parameters.

    Args:
        problem: signals and model.
        found: the parameters.
        spare: scatter of merged repeats, (voxels,).
        volumes: how many there were before repeats were merged.
    """
    parameters, jacobian = found.parameters, list(found.jacobian)
    cost = found.cost - problem.prior_weight * problem.prior_offset_s(parameters[1]) ** 2 + spare
    if problem.prior_weight:
        known = torch.zeros_like(jacobian[0][:1])
        jacobian = [torch.cat([one, known + problem.prior_weight**0.5 * (k == 1)]) for k, one in enumerate(jacobian)]
    freedom = volumes - len(parameters)
    if problem.options.noise_sd is not None:
        noise = torch.full_like(cost, problem.options.noise_sd)
    else:
        noise = (cost / freedom).sqrt() if freedom > 0 else torch.full_like(cost, torch.nan)
    variances = kinetics.inverse_diagonal(jacobian)
    deviations = [torch.where(torch.isinf(one), torch.inf, noise * one.sqrt()) for one in variances]
    arterial = parameters[2] if len(parameters) > 2 else None
    return KineticFit(
        parameters[0], parameters[1], arterial, deviations[0], deviations[1],
        deviations[2] if arterial is not None else None, noise, cost, _status(problem, found, deviations[1]),
    )  # fmt: skip


def _status(problem: Problem, found: Polished, sd_att_s: torch.Tensor) -> torch.Tensor:
    low, high = problem.low, problem.high
    bound = ((found.parameters <= low) | (found.parameters >= high)).any(0)
    status = torch.where(bound, AT_BOUND, OK)
    status = torch.where(found.converged, status, NOT_CONVERGED)
    return torch.where(torch.isinf(sd_att_s), UNDETERMINED, status).to(torch.int8)
