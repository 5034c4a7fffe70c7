"""Calibration on validation scans: lesion probabilities, intervals, and what counts as lesion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from scan2map.models.fusion_diffusion import SPREAD_CLASSES, FusionDiffusion
from scan2map.systems.ctmr_fusion.lesions import choose_rule

NORMAL_50, NORMAL_90 = 0.6745, 1.6449  # half-widths of the 50 % and 90 % intervals of a normal distribution
TEMPERATURES = np.geomspace(0.25, 4, 41)


class Drawn(NamedTuple):
    """Validation scans.

    Attributes:
        images: fused images (draws, batch, 1, x, y, z), −2 to 2.
        target: their truth (batch, 1, x, y, z).
        lesion, brain: masks, same shape.
    """

    images: torch.Tensor
    target: torch.Tensor
    lesion: torch.Tensor
    brain: torch.Tensor


def calibrate(network: FusionDiffusion, seen: Drawn, voxel_mm: Sequence[float]) -> None:
    """Set a network's buffers: temperature, rule of lesions, widths of intervals.

    Args:
        network: trained.
        seen: validation scans.
        voxel_mm: edges of their voxels (3,).
    """
    mean, inside = seen.images.mean(0), seen.brain > 0
    logits = network.fused_logits(mean, seen.brain)
    network.temperature.fill_(best_temperature(logits[inside].double(), seen.lesion[inside].double()))
    probability = network.lesion_probability(mean, seen.brain)[:, 0].cpu().numpy()
    threshold, smallest_ml = choose_rule(probability, seen.lesion[:, 0].cpu().numpy() > 0, voxel_mm)
    network.lesion_threshold.fill_(threshold)
    network.lesion_smallest_ml.fill_(smallest_ml)
    set_widths(network, (mean - seen.target).abs()[inside], seen.images.std(0)[inside])


def best_temperature(logits: torch.Tensor, truth: torch.Tensor) -> float:
    """Divisor of the logits with the lowest cross-entropy (Guo et al. 2017, ICML)."""
    losses = [float(functional.binary_cross_entropy_with_logits(logits / t, truth)) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def set_widths(network: FusionDiffusion, error: torch.Tensor, spread: torch.Tensor) -> None:
    """Conformal widths by class of spread (Mondrian; Vovk et al. 2005): quantiles of the error that was seen in each.

    What the draws have in common (what the network never learned) does not show in their spread, so that spread only
    sorts voxels into classes; how wide the interval of a class is, the errors say.

    Args:
        network: its buffers are set.
        error: absolute, of the mean image, (voxels,).
        spread: of the draws, (voxels,).
    """
    levels = torch.linspace(0, 1, SPREAD_CLASSES + 1, device=spread.device)[1:-1]
    network.spread_edges.copy_(torch.quantile(spread, levels))
    place = torch.bucketize(spread, network.spread_edges)
    wanted = torch.tensor([0.5, 0.9], device=error.device)
    for number in range(SPREAD_CLASSES):
        inside = error[place == number]
        # A network without noise has one class only.
        half, most = torch.quantile(inside if len(inside) else error, wanted)
        network.half_width_50[number], network.half_width_90[number] = half, most


def half_widths(network: FusionDiffusion, drawn: torch.Tensor) -> dict[float, torch.Tensor]:
    """Half-widths of the 50 % and 90 % intervals around the mean of drawn images, each (batch, 1, x, y, z)."""
    place = torch.bucketize(drawn.std(0), network.spread_edges)
    return {0.5: network.half_width_50[place], 0.9: network.half_width_90[place]}
