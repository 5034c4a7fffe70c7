"""Perfusion and transit time from denoised signals of several delays, differentiable: for the loss and for the maps."""

from __future__ import annotations

import torch

from scan2map.systems.asl_denoise.labelling import UNIT_CBF, Labelling, relative_signal

GRID_S = tuple(0.2 + 0.1 * step for step in range(29))  # transit times that are tried, 0.2 to 3 s
SHARPNESS = 200.0  # per squared unit signal: how much better a transit time must explain the signals to win


def fit_delays(signal: torch.Tensor, relative_m0: torch.Tensor, labelling: Labelling) -> tuple[torch.Tensor, ...]:
    """Least squares over a grid of transit times, softened so that gradients pass.

    For each transit time the best perfusion is the projection A = ⟨s, g⟩ / ⟨g, g⟩ of the signals s on the model's curve
    g; the estimates are means over the grid weighted by exp(k·⟨s, g⟩² / ⟨g, g⟩), the explained part of the signals.

    Args:
        signal: difference signals in network units (batch, delays, y, x).
        relative_m0: M0 over its median in the brain (batch, 1, y, x).
        labelling: label parameters.

    Returns:
        Perfusion (ml/100g/min) and transit time (s), (batch, 1, y, x) each.
    """
    grid = torch.tensor(GRID_S, device=signal.device)
    one = signal.new_full((1, 1, 1, 1), UNIT_CBF)
    curves = relative_signal(one, grid[None, None, None], labelling)[:, :, 0]  # (batch, delays, grid)
    scaled = signal / relative_m0
    match = torch.einsum("bdyx,bdg->bgyx", scaled, curves)
    energy = curves.square().sum(1).clamp_min(1e-4)[:, :, None, None]
    weight = torch.softmax(SHARPNESS * match.clamp_min(0).square() / energy, dim=1)
    cbf = UNIT_CBF * (weight * match / energy).sum(1, keepdim=True)
    return cbf, (weight * grid[None, :, None, None]).sum(1, keepdim=True)
