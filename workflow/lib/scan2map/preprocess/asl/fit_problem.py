"""Signals of some voxels, their kinetic model and the bounds: what the steps of the kinetic fit share.

Arrays are (volumes, voxels) and parameters (parameters, voxels), in the order CBF, ATT, arterial blood volume.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch

from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_design import CONTINUOUS, LABELLING, LabelDesign

# Distance from a kink of the signal at which a transit time counts as on one side of it, s.
KINK_GAP_S = 1e-7


class Problem(NamedTuple):
    """Signals of some voxels and what they are fitted with.

    Attributes:
        data: ΔM/M0 times the square root of each volume's weight, (volumes, voxels).
        design: the volumes; their efficiencies hold the same factor, so that all volumes have the same noise.
        options: a ``FitOptions``.
        offset_s: added to the delays, (1, voxels), or (volumes, voxels) where slice orders differ.
        tissue_t1_s: (voxels,).
        low, high: bounds of the parameters, (parameters, voxels).
        prior_weight: weight of the squared distance of the transit time from its prior, 1/s²; 0 without a prior.
    """

    data: torch.Tensor
    design: LabelDesign
    options: Any
    offset_s: torch.Tensor
    tissue_t1_s: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    prior_weight: float = 0.0

    def take(self, voxels: torch.Tensor) -> Problem:
        """The problem of some of the voxels."""
        return self._replace(
            data=self.data[:, voxels], offset_s=self.offset_s[:, voxels], tissue_t1_s=self.tissue_t1_s[voxels],
            low=self.low[:, voxels], high=self.high[:, voxels],
        )  # fmt: skip

    def scaled(self, factor) -> Problem:
        """The same problem with all signals multiplied: a number, or one per volume (NumPy)."""
        design = replace(self.design, efficiency=self.design.efficiency * factor)
        return self._replace(
            data=self.data * torch.as_tensor(factor, device=self.data.device).reshape(-1, 1), design=design
        )

    def within(self, att_low_s: torch.Tensor, att_high_s: torch.Tensor) -> Problem:
        """The same problem with narrower bounds of the transit time, (voxels,) each."""
        low, high = self.low.clone(), self.high.clone()
        low[1], high[1] = att_low_s, att_high_s
        return self._replace(low=low, high=high)

    def widths(self) -> torch.Tensor:
        """Width of the options' bounds, (parameters, 1): the scale of a parameter."""
        return torch.tensor([[high - low] for low, high in self.options.bounds()], device=self.data.device)

    def edges_s(self) -> torch.Tensor:
        """Bounds of the transit time and, between them, where a signal has a kink or a jump: it is smooth in between.

        Of the first voxel: voxels that are profiled together share their delay offset.
        """
        low, high = self.options.att_bounds_s
        lead = self.options.arterial_lead_s if self.options.arterial_component else None
        kinks = self.design.kinks_s(self.offset_s[:, 0].cpu().numpy(), arterial_lead_s=lead)
        inner = kinks[(kinks > low + 3 * KINK_GAP_S) & (kinks < high - 3 * KINK_GAP_S)]
        return torch.tensor([low, *inner, high], dtype=torch.float64, device=self.data.device)

    def prior_offset_s(self, att_s: torch.Tensor) -> torch.Tensor:
        """Distance of a transit time from its prior, s (0 without a prior)."""
        return att_s - self.options.att_prior_s[0] if self.prior_weight else torch.zeros_like(att_s)

    def cost(self, signal: torch.Tensor, att_s: torch.Tensor) -> torch.Tensor:
        """What is minimised, (voxels,): squares of the residuals and, weighted, of the distance from the prior."""
        misfit = ((self.data - signal) ** 2).sum(0)
        return misfit + self.prior_weight * self.prior_offset_s(att_s) ** 2

    def arrival_s(self, att_s: torch.Tensor) -> torch.Tensor:
        """When label reaches the artery of a voxel, s."""
        return torch.clamp(att_s - self.options.arterial_lead_s, min=0)

    def evaluate(self, parameters: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Predicted signals and their derivatives with respect to each parameter, (volumes, voxels) each."""
        options = self.options
        signal, by_cbf, by_att = kinetics.signal_jacobian(
            self.design, parameters[0], parameters[1], model=options.model, tissue_t1_s=self.tissue_t1_s,
            delay_offset_s=self.offset_s,
        )  # fmt: skip
        if not options.arterial_component:
            return signal, [by_cbf, by_att]
        arterial = kinetics.arterial_responses(self.design, self.arrival_s(parameters[1]), self.offset_s)
        moves = parameters[1] > options.arterial_lead_s
        by_att = by_att - self._fading(arterial) * parameters[2] * moves
        return signal + parameters[2] * arterial, [by_cbf, by_att, arterial]

    def _fading(self, arterial: torch.Tensor) -> torch.Tensor:
        """Loss of the arterial signal per second of later arrival: only continuous label decays on its way."""
        kinds = [LABELLING[kind] == CONTINUOUS for kind in self.design.kinds]
        return arterial * torch.tensor(kinds, device=arterial.device)[:, None] / self.design.blood_t1_s
