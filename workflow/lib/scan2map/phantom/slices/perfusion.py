"""Perfusion and transit time in slices of tissue: drawn at random with lesions, and mixed in the voxel.

For systems that simulate their training scans; ``phantom.perfusion`` is the perfusion of a whole digital subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from scan2map.phantom.slices.tissue import TISSUES, smooth_field

# Ranges of SYSTEMS: ml/100g/min and s.
CBF_RANGE = {"gm": (30.0, 90.0), "wm": (10.0, 35.0), "csf": (0.0, 5.0)}
ATT_RANGE_S = {"gm": (0.8, 2.2), "wm": (1.0, 2.5), "csf": (0.8, 2.5)}
MEAN_ATT_RANGE_S, WM_DELAY_RANGE_S = (0.9, 1.8), (0.1, 0.5)
# Variation within a tissue: standard deviations (of the logarithm for perfusion) and sizes of its structures.
CBF_VARIATION, FINE_CBF_VARIATION, ATT_VARIATION_S = 0.10, 0.06, 0.15
CBF_SCALES_VOXELS, ATT_SCALE_VOXELS = (6.0, 3.0), 10.0
SPECK_DENSITY, SPECK_RANGE = 0.03, (0.3, 2.0)  # largest share of voxels; factor on their perfusion
TERRITORY_STEP_S, TERRITORY_SCALE_VOXELS = 0.4, 25.0
LONGEST_ATT_S = 4.0
# Lesions: factor on perfusion of hyperperfused, hypoperfused tissue and penumbra; delays, s; the core in its penumbra.
LESION_FACTORS = ((1.3, 2.0), (0.2, 0.7), (0.3, 0.6))
HYPER_DELAY_S, PENUMBRA_DELAY_S = -0.2, (0.3, 1.2)
CORE_FACTOR, CORE_DELAY_S, CORE_SIZE = (0.0, 0.3), 1.5, 0.55
BRAIN_SHARE = 0.5  # a voxel belongs to the mask from this share of brain on
FLOW_FLOOR = 1e-3  # ml/100g/min, guards the flow-weighted transit time


class Perfusion(NamedTuple):
    """Truth of a batch, tensors (batch, 1, y, x): perfusion and transit time by tissue, and mixed in the voxel."""

    gm_cbf: torch.Tensor
    wm_cbf: torch.Tensor
    csf_cbf: torch.Tensor
    gm_att_s: torch.Tensor
    wm_att_s: torch.Tensor
    csf_att_s: torch.Tensor

    def tissue(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Perfusion and transit time of one tissue."""
        return getattr(self, f"{name}_cbf"), getattr(self, f"{name}_att_s")


def seeded(*numbers: int, device="cpu") -> torch.Generator:
    """A generator for one purpose: the same numbers whenever it is asked for again."""
    value = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(value >> 1))


def uniform(batch: int, limits, generator: torch.Generator) -> torch.Tensor:
    """Uniform values (batch,) between two limits."""
    low, high = limits
    return low + (high - low) * torch.rand(batch, generator=generator, device=generator.device)


def spread(values: torch.Tensor) -> torch.Tensor:
    """One value per sample as (batch, 1, 1, 1)."""
    return values[:, None, None, None]


def _territories(batch: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """A sharp border with a step of transit time in half of the slices, as between vascular territories, s."""
    border = torch.sigmoid(8 * smooth_field(batch, size, TERRITORY_SCALE_VOXELS, generator))
    step = uniform(batch, (-TERRITORY_STEP_S, TERRITORY_STEP_S), generator) * (uniform(batch, (0, 1), generator) < 0.5)
    return spread(step) * border


def draw_perfusion(batch: int, size: int, generator: torch.Generator) -> Perfusion:
    """Perfusion and transit time of pure tissue: a mean per slice, smooth variation within, and some that is finer."""
    coarse, fine = (smooth_field(batch, size, scale, generator) for scale in CBF_SCALES_VOXELS)
    share = spread(uniform(batch, (0, FINE_CBF_VARIATION), generator))
    pattern = torch.exp(CBF_VARIATION * coarse + share * fine)
    cbf = [spread(uniform(batch, CBF_RANGE[name], generator)) * pattern for name in ("gm", "wm", "csf")]
    start = spread(uniform(batch, MEAN_ATT_RANGE_S, generator)) + _territories(batch, size, generator)
    arrival = start + ATT_VARIATION_S * smooth_field(batch, size, ATT_SCALE_VOXELS, generator)
    delay = spread(uniform(batch, WM_DELAY_RANGE_S, generator))
    att = [arrival, arrival + delay, arrival + delay / 2]
    return Perfusion(*cbf, *(a.clamp(*ATT_RANGE_S[name]) for a, name in zip(att, ("gm", "wm", "csf"), strict=True)))


def add_specks(perfusion: Perfusion, generator: torch.Generator) -> Perfusion:
    """Rare single voxels that stand out, so that training does not take all fine detail for noise."""
    batch, shape = len(perfusion.gm_cbf), perfusion.gm_cbf.shape
    density = spread(uniform(batch, (0, SPECK_DENSITY), generator))
    here = torch.rand(shape, generator=generator, device=generator.device) < density
    low, high = SPECK_RANGE
    factor = low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)
    factor = torch.where(here, factor, torch.ones_like(factor))
    return Perfusion(*(value * factor for value in perfusion[:3]), *perfusion[3:])


def disc(batch: int, size: int, centres: torch.Tensor, radii: torch.Tensor, edge: float = 0.35) -> torch.Tensor:
    """Share of each voxel inside an ellipse, (batch, 1, size, size).

    Args:
        centres: voxel coordinates y, x (batch, 2).
        radii: voxels along y and x (batch, 2).
        edge: width over which the share falls, voxels.
    """
    index = torch.arange(size, device=centres.device, dtype=torch.float32)
    y, x = torch.meshgrid(index, index, indexing="ij")
    ratio = ((y - centres[:, :1, None]) / radii[:, :1, None]) ** 2 + (
        (x - centres[:, 1:, None]) / radii[:, 1:, None]
    ) ** 2
    distance = (1 - ratio.clamp_min(1e-6).sqrt()) * radii.mean(1)[:, None, None]
    return torch.sigmoid(distance / edge)[:, None]


def apply_lesion(perfusion: Perfusion, share: torch.Tensor, factor, att_shift_s) -> Perfusion:
    """Perfusion multiplied by ``factor`` and delayed by ``att_shift_s`` where the share is 1."""
    cbf = [value * (1 + share * (factor - 1)) for value in perfusion[:3]]
    att = [(value + share * att_shift_s).clamp(ATT_RANGE_S["gm"][0], LONGEST_ATT_S) for value in perfusion[3:]]
    return Perfusion(*cbf, *att)


def draw_lesions(perfusion: Perfusion, settings: Mapping, voxel_mm: torch.Tensor, generator: torch.Generator):
    """A lesion in some samples: hyper- or hypoperfused tissue, or an ischaemic core inside its penumbra.

    Returns:
        The changed perfusion and the share of each voxel in the lesion.
    """
    batch, size = perfusion.gm_cbf.shape[0], perfusion.gm_cbf.shape[-1]
    present = spread((uniform(batch, (0, 1), generator) < settings["probability"]).float())
    centres = torch.stack([uniform(batch, (0, size), generator) for _ in range(2)], 1)
    diameters = torch.stack([uniform(batch, settings["diameter_mm"], generator) for _ in range(2)], 1)
    radii = diameters / 2 / voxel_mm[:, None]
    share = present * disc(batch, size, centres, radii)
    kind = spread(uniform(batch, (0, 3), generator)).floor()
    hyper, hypo, penumbra = (spread(uniform(batch, limits, generator)) for limits in LESION_FACTORS)
    delay = spread(uniform(batch, PENUMBRA_DELAY_S, generator))
    factor = torch.where(kind == 0, hyper, torch.where(kind == 1, hypo, penumbra))
    shift = torch.where(kind == 0, HYPER_DELAY_S * torch.ones_like(delay), torch.where(kind == 1, 0.3 * delay, delay))
    changed = apply_lesion(perfusion, share, factor, shift)
    core = (kind == 2) * present * disc(batch, size, centres, radii * CORE_SIZE)
    changed = apply_lesion(changed, core, spread(uniform(batch, CORE_FACTOR, generator)), CORE_DELAY_S)
    return changed, share


def mixed(perfusion: Perfusion, fractions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Perfusion of the mixed voxel (ml/100g/min) and its flow-weighted transit time (s)."""
    flows = [fractions[:, i : i + 1] * perfusion.tissue(name)[0] for i, name in enumerate(TISSUES)]
    total = sum(flows)
    weighted = sum(flow * perfusion.tissue(name)[1] for flow, name in zip(flows, TISSUES, strict=True))
    return total, weighted / total.clamp_min(FLOW_FLOOR)
