"""Kinetic fit of a whole image in which neighbours inform each other: total variation of CBF and ATT is penalised.

Minimises, over all voxels v of a mask and pairs of face neighbours (u, v),

    ½ Σᵥ Σⱼ wⱼ (ΔMᵥⱼ − m(pᵥ)ⱼ)² / σ²  +  λ Σ_p Σ_(u,v) h_uv √(((p_u − p_v) / s_p)² + ε²)

with p = CBF, ATT (and arterial blood volume) within their bounds, scales s_p, and h_uv the distance of the thinnest
direction over that of the pair. The square root is smooth at 0 and grows linearly, so that edges between tissues are
kept where a quadratic penalty would blur them [1]. Solved by iteratively reweighted Gauss–Newton steps, each by
conjugate gradients [2], from the voxel-wise fit of locally averaged signals.

References:
    [1] Charbonnier et al., IEEE Trans Image Process 6:298 (1997).
    [2] Nocedal and Wright, Numerical Optimization (2006), chapters 5 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from scan2map.errors import SettingError
from scan2map.physics.asl_design import LabelDesign
from scan2map.preprocess.asl.fit import FitOptions, KineticFit, as_problem, common_noise_sd, fit_kinetic, summary
from scan2map.preprocess.asl.fit_polish import Polished
from scan2map.preprocess.asl.fit_problem import Problem

# Below this difference, in units of the scale, the penalty is quadratic.
ROUNDING = 0.05
# Share of the diagonal of the voxel's own normal matrix that is added to it: steps stay where the model is linear.
DAMPING = 0.02
CONJUGATE_GRADIENT_STEPS = 40
SHORTEST_STEP = 1 / 32


@dataclass(frozen=True)
class Smoothness:
    """How strongly neighbours are coupled.

    Attributes:
        strength: λ; 0 is the voxel-wise fit.
        cbf_scale: difference of CBF that costs λ, ml/100g/min.
        att_scale_s: the same of ATT, s.
        arterial_scale: the same of arterial blood volume, ml/ml.
        iterations: reweighted Gauss–Newton steps, at most.
    """

    strength: float = 0.5
    cbf_scale: float = 10.0
    att_scale_s: float = 0.2
    arterial_scale: float = 0.01
    iterations: int = 15

    def scales(self, count: int) -> list[float]:
        """Scale of each of the first ``count`` parameters."""
        return [self.cbf_scale, self.att_scale_s, self.arterial_scale][:count]


class Neighbours(NamedTuple):
    """The six face neighbours of the voxels of a mask.

    Attributes:
        index: (6, voxels), itself where there is none.
        weight: h of the pair, 0 where there is none, (6, 1 or voxels).
    """

    index: torch.Tensor
    weight: torch.Tensor

    def differences(self, values: torch.Tensor) -> torch.Tensor:
        """Value minus that of each neighbour: (..., voxels) to (..., 6, voxels)."""
        return values[..., None, :] - values[..., self.index]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of a voxel and its neighbours, (..., voxels)."""
        there = self.weight > 0
        total = values + torch.where(there, values[..., self.index], 0.0).sum(-2)
        return total / (1 + there.sum(0))


def neighbours(mask: np.ndarray, voxel_size_mm, device="cpu") -> Neighbours:
    """Face neighbours inside a mask (x, y, z), voxels in the order of ``mask.nonzero()``."""
    number = np.full(np.add(mask.shape, 2), -1)
    place = np.argwhere(mask) + 1
    number[tuple(place.T)] = np.arange(len(place))
    index, weight = [], []
    for axis, size in enumerate(voxel_size_mm):
        for side in (-1, 1):
            beside = place.copy()
            beside[:, axis] += side
            found = number[tuple(beside.T)]
            index.append(np.where(found < 0, np.arange(len(place)), found))
            weight.append(np.where(found < 0, 0.0, min(voxel_size_mm) / size))
    return Neighbours(torch.tensor(np.array(index), device=device), torch.tensor(np.array(weight), device=device))


def fit_kinetic_regularised(
    difference,
    design: LabelDesign,
    mask: np.ndarray,
    options: FitOptions | None = None,
    smoothness: Smoothness | None = None,
    *,
    voxel_size_mm=(1.0, 1.0, 1.0),
    delay_offset_s=0.0,
    weights=None,
    device: str | torch.device | None = None,
) -> KineticFit:
    """Fit CBF and ATT of all voxels of a mask together; see the module for what is minimised.

    Args:
        difference: ΔM/M0, (voxels, volumes), voxels in the order of ``mask.nonzero()``.
        design, options, delay_offset_s, weights, device: as in ``fit_kinetic``.
        mask: (x, y, z).
        smoothness: coupling of neighbours.
        voxel_size_mm: size of a voxel along x, y, z.

    Returns:
        As ``fit_kinetic``. The standard deviations are those of the voxel's own data, without what neighbours add.

    Raises:
        SettingError: as ``fit_kinetic``; or mask and signals do not match.
    """
    options, smoothness = options or FitOptions(), smoothness or Smoothness()
    data = torch.as_tensor(difference, device=device)
    if int(mask.sum()) != len(data):
        raise SettingError("Mask and signals do not match", found=f"{len(data)} voxels", allowed=f"{int(mask.sum())}")
    settings = {"delay_offset_s": delay_offset_s, "weights": weights}
    alone = fit_kinetic(data, design, options, **settings)
    if smoothness.strength == 0:
        return alone
    around = neighbours(mask > 0, voxel_size_mm, data.device)
    start = fit_kinetic(around.mean(data.T.to(torch.float64)).T, design, options, **settings)
    problem, spare = as_problem(data, design, options, **settings)
    scaled = problem.scaled(1 / common_noise_sd(alone.noise_sd))
    found = _descend(scaled, _parameters(start), around, smoothness)
    signal, jacobian = problem.evaluate(found)
    converged = torch.ones_like(spare, dtype=torch.bool)
    return summary(
        problem, Polished(found, problem.cost(signal, found[1]), converged, torch.stack(jacobian)), spare, len(design)
    )


def _parameters(fit: KineticFit) -> torch.Tensor:
    rows = [fit.cbf, fit.att_s] + ([] if fit.arterial_volume is None else [fit.arterial_volume])
    return torch.stack(rows)


def objective(
    problem: Problem, parameters: torch.Tensor, around: Neighbours, smoothness: Smoothness
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is minimised, with signals in units of σ: the data term and the penalty."""
    signal, _ = problem.evaluate(parameters)
    misfit = ((problem.data - signal) ** 2).sum() / 2
    return misfit, smoothness.strength * (around.weight * _rounded(parameters, around, smoothness)).sum() / 2


def _rounded(parameters: torch.Tensor, around: Neighbours, smoothness: Smoothness) -> torch.Tensor:
    scale = torch.tensor(smoothness.scales(len(parameters)), device=parameters.device)[:, None, None]
    return ((around.differences(parameters) / scale) ** 2 + ROUNDING**2).sqrt()


def _descend(problem: Problem, parameters: torch.Tensor, around: Neighbours, smoothness: Smoothness) -> torch.Tensor:
    energy = sum(objective(problem, parameters, around, smoothness))
    for _ in range(smoothness.iterations):
        step = _gauss_newton_step(problem, parameters, around, smoothness)
        length, before = 1.0, energy
        while length >= SHORTEST_STEP:
            trial = (parameters + length * step).clamp(problem.low, problem.high)
            reached = sum(objective(problem, trial, around, smoothness))
            if reached < energy:
                parameters, energy = trial, reached
                break
            length /= 2
        if before - energy < 1e-5 * before:
            break
    return parameters


def _gauss_newton_step(problem: Problem, parameters: torch.Tensor, around: Neighbours, smoothness: Smoothness):
    signal, jacobian = problem.evaluate(parameters)
    residual = problem.data - signal
    scale = torch.tensor(smoothness.scales(len(parameters)), device=parameters.device)[:, None, None]
    coupling = smoothness.strength * around.weight / _rounded(parameters, around, smoothness) / scale**2
    slope = torch.stack([(column * residual).sum(0) for column in jacobian])
    slope = slope - (coupling * around.differences(parameters)).sum(1)
    blocks = [[(one * other).sum(0) for other in jacobian] for one in jacobian]
    own = torch.stack([blocks[k][k] for k in range(len(blocks))])
    held = ((parameters <= problem.low) & (slope < 0)) | ((parameters >= problem.high) & (slope > 0))

    def apply(step):
        local = torch.stack([sum(block * part for block, part in zip(row, step, strict=True)) for row in blocks])
        total = local + DAMPING * own * step + (coupling * around.differences(step)).sum(1)
        return torch.where(held, 0.0, total)

    diagonal = own * (1 + DAMPING) + coupling.sum(1)
    return _conjugate_gradients(apply, torch.where(held, 0.0, slope), diagonal.clamp_min(1e-12))


def _conjugate_gradients(apply, target: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    """Approximate solution of a symmetric positive system, Jacobi-preconditioned."""
    solution, residual = torch.zeros_like(target), target
    direction = conditioned = residual / diagonal
    product = (residual * conditioned).sum()
    first = product
    for _ in range(CONJUGATE_GRADIENT_STEPS):
        if product <= 1e-10 * first:
            break
        image = apply(direction)
        length = product / (direction * image).sum()
        solution, residual = solution + length * direction, residual - length * image
        conditioned = residual / diagonal
        product, last = (residual * conditioned).sum(), product
        direction = conditioned + product / last * direction
    return solution
