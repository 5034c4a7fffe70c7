"""The Gauss-Newton system of one linearisation of the EPI model, matrix-free, and its solution."""

from __future__ import annotations

from collections.abc import Callable

import torch

from scan2map.preprocess.dwi.epi_model import EpiModel, Linearised, State
from scan2map.preprocess.dwi.field_prior import FieldPrior

HELD_STIFFNESS = 1e3  # how much stiffer than the data the one unobservable translation is held
JITTER = 1e-6  # share of the largest diagonal entry added where splines see neither data nor prior


class NormalEquations:
    """(data / noise variance + prior) step = - gradient, for spline coefficients and motion parameters together.

    Args:
        model: the resolution level.
        linearised: residuals and derivatives.
        state: where they were taken.
        noise_variance: of a residual.
        prior: of the field.
    """

    def __init__(
        self, model: EpiModel, linearised: Linearised, state: State, *, noise_variance: float, prior: FieldPrior
    ):
        self.basis, self.prior = model.basis, prior
        parts = linearised.parts
        components = range(parts.shape[1])
        self.pairs = {
            (k, l): (parts[:, k] * parts[:, l]).sum(0) / noise_variance
            for k in components
            for l in components
            if k <= l
        }
        pull = (linearised.residuals[:, None] * parts).sum(0) / noise_variance
        self.field_gradient = self.basis.adjoint(list(pull)) + prior.multiply(state.coefficients)
        diagonal = self.basis.diagonal(self.pairs) + prior.diagonal()
        self.field_diagonal = diagonal + JITTER * diagonal.max()
        self.motion_count = 0
        if linearised.motion_parts is not None:
            self._add_motion(model, linearised, noise_variance)

    def _add_motion(self, model: EpiModel, linearised: Linearised, noise_variance: float) -> None:
        moved = linearised.motion_parts
        images, self.motion_count = len(moved), 6 * len(moved)
        flat = moved.reshape(self.motion_count, -1)
        mixing = torch.eye(images).to(flat) - 1 / (images + 1)  # residuals are centred over images
        mixing = mixing.repeat_interleave(6, 0).repeat_interleave(6, 1)
        matrix = flat @ flat.T * mixing / noise_variance
        held = torch.as_tensor(model.held_motion()).to(flat)
        self.motion_matrix = matrix + matrix.diagonal().max() * (
            HELD_STIFFNESS * held + JITTER * torch.eye(len(flat)).to(flat)
        )
        residuals = linearised.residuals[1:].repeat_interleave(6, 0).reshape(self.motion_count, -1)
        self.motion_gradient = (flat * residuals).sum(1) / noise_variance
        parts = linearised.parts[1:].repeat_interleave(6, 0)
        pairs = zip(parts, moved.flatten(0, 1), strict=True)
        columns = [self.basis.adjoint(list(part * column)).ravel() for part, column in pairs]
        self.coupling = torch.stack(columns) / noise_variance

    def split(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The coefficients and the motion parameters in one vector of unknowns."""
        size = vector.numel() - self.motion_count
        return vector[:size].reshape(self.basis.shape), vector[size:]

    @property
    def gradient(self) -> torch.Tensor:
        """Gradient of half the objective as one vector: coefficients, then motion."""
        if not self.motion_count:
            return self.field_gradient.ravel()
        return torch.cat([self.field_gradient.ravel(), self.motion_gradient])

    def multiply(self, vector: torch.Tensor) -> torch.Tensor:
        """The system's matrix times a vector."""
        coefficients, motion = self.split(vector)
        components = self.basis.components(coefficients)
        pulled = [torch.zeros_like(part) for part in components]
        for (k, l), weight in self.pairs.items():
            pulled[k].addcmul_(weight, components[l])
            if k != l:
                pulled[l].addcmul_(weight, components[k])
        field = (self.basis.adjoint(pulled) + self.prior.multiply(coefficients)).ravel()
        if not self.motion_count:
            return field
        moved = self.coupling @ coefficients.ravel() + self.motion_matrix @ motion
        return torch.cat([field + motion @ self.coupling, moved])

    def precondition(self, vector: torch.Tensor) -> torch.Tensor:
        """An easy approximate inverse: the field's diagonal, the motion's block."""
        coefficients, motion = self.split(vector)
        easy = (coefficients / self.field_diagonal).ravel()
        if not self.motion_count:
            return easy
        return torch.cat([easy, torch.linalg.solve(self.motion_matrix, motion)])


def conjugate_gradients(
    multiply: Callable, right_side: torch.Tensor, precondition: Callable, *, iterations: int, tolerance: float
) -> tuple[torch.Tensor, int]:
    """Solve a symmetric positive-definite system by preconditioned conjugate gradients from zero.

    Args:
        multiply: the matrix as a function of a vector.
        right_side: its right-hand side.
        precondition: an approximate inverse as a function of a vector.
        iterations: at most this many.
        tolerance: stop when the preconditioned residual has fallen to this fraction.

    Returns:
        The solution and the iterations used.
    """
    solution, residual = torch.zeros_like(right_side), right_side.clone()
    search = easy = precondition(residual)
    power = first = torch.dot(residual, easy)
    if first == 0:
        return solution, 0
    for used in range(1, iterations + 1):
        image = multiply(search)
        length = power / torch.dot(search, image)
        solution += length * search
        residual -= length * image
        easy = precondition(residual)
        power, before = torch.dot(residual, easy), power
        if power <= tolerance**2 * first:
            return solution, used
        search = easy + power / before * search
    return solution, iterations
