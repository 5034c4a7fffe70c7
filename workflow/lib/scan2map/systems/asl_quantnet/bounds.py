"""Cramér-Rao bounds of perfusion and transit time for a batch with its own label parameters per sample."""

from __future__ import annotations

import torch

from scan2map.physics.asl_kinetics import inverse_diagonal
from scan2map.systems.asl_quantnet.labelling import Delays, Labelling, difference_signals


def cramer_rao_variance(
    cbf: torch.Tensor, att_s: torch.Tensor, labelling: Labelling, delays: Delays, sigma: torch.Tensor, convention: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest variance of unbiased estimates of perfusion and transit time (inverse Fisher information).

    Args:
        cbf: perfusion (batch, 1, y, x), ml/100g/min, above 0.
        att_s: transit time, s, same shape.
        labelling, delays, convention: as for :func:`labelling.difference_signals`.
        sigma: noise of one difference volume (batch,).

    Returns:
        Variance of perfusion and of the transit time, each (batch, 1, y, x); infinite where the signals do not
        determine a parameter.
    """

    def signals(flow, time):
        return difference_signals(flow, time, labelling, delays, convention=convention)

    zero = torch.zeros_like(cbf)
    columns = [
        torch.func.jvp(signals, (cbf, att_s), tangent)[1].transpose(0, 1)
        for tangent in ((torch.ones_like(cbf), zero), (zero, torch.ones_like(att_s)))
    ]
    noise = sigma[:, None, None].square()
    return tuple((noise * inverse)[:, None] for inverse in inverse_diagonal(columns))
