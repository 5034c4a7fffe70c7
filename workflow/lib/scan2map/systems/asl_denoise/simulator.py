"""Simulated PCASL scans of slices of tissue: noise-free signals, M0, noise of a pair, averages of few pairs.

All signals are in network units (``labelling``). SNR of a pair is 1 / σ: the signal of 60 ml/100g/min at the median M0
over the thermal noise of one difference image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from scan2map.phantom.slices.perfusion import (
    BRAIN_SHARE,
    HYPER_DELAY_S,
    Perfusion,
    add_specks,
    apply_lesion,
    disc,
    draw_lesions,
    draw_perfusion,
    mixed,
    spread,
    uniform,
)
from scan2map.phantom.slices.tissue import TISSUES, random_tissue, smooth_field
from scan2map.systems.asl_denoise.anatomy import draw_guide
from scan2map.systems.asl_denoise.labelling import Labelling, relative_signal, unit_signal
from scan2map.systems.asl_denoise.noise import Noise, measure_average, physiological_map

# Proton density relative to water, its range over M0 images (T1 and T2* weigh them too), and its median in a brain.
PROTON_DENSITY = {"csf": 1.0, "gm": 0.85, "wm": 0.72}
DENSITY_RANGE = {"csf": (0.6, 1.1), "gm": (0.80, 0.90), "wm": (0.64, 0.78)}
MEDIAN_DENSITY = 0.79
RECEIVE_VARIATION, RECEIVE_SCALE_VOXELS = 0.15, 20.0
MEDIAN_VARIATION = (0.9, 1.1)  # the median of a slice's brain is not known exactly
# Small lesions: diameters over their mean, width of the border, factors on perfusion (more, less), delay of the latter.
SMALL_SHAPE, SMALL_EDGE_VOXELS = (0.8, 1.2), 0.2
SMALL_FACTORS, SMALL_DELAY_S = ((1.3, 2.2), (0.1, 0.7)), (0.0, 0.6)
LEAST_RELATIVE_M0 = 0.3  # guards the voxels outside the brain


class Slices(NamedTuple):
    """Known tissue before it is measured.

    Attributes:
        perfusion: of pure tissue.
        even: the same without small lesions and voxels that stand out.
        fractions: CSF, GM, WM (batch, 3, y, x).
        relative_m0: M0 over its median in the brain (batch, 1, y, x).
        labelling: label parameters.
        lesion: share of the voxel in a lesion; 1 in single voxels that stand out (batch, 1, y, x).
    """

    perfusion: Perfusion
    even: Perfusion
    fractions: torch.Tensor
    relative_m0: torch.Tensor
    labelling: Labelling
    lesion: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """Brain (batch, 1, y, x), 0 or 1."""
        return (self.fractions.sum(1, keepdim=True) > BRAIN_SHARE).float()

    def clean(self) -> torch.Tensor:
        """Noise-free difference signals (batch, channels, y, x): the tissues of a voxel add up; 0 outside the brain."""
        return self._signal(self.perfusion)

    def contrast(self) -> torch.Tensor:
        """What small lesions and voxels that stand out change in :meth:`clean`."""
        return self._signal(self.perfusion) - self._signal(self.even)

    def _signal(self, perfusion: Perfusion) -> torch.Tensor:
        signals = (
            self.fractions[:, i : i + 1] * relative_signal(*perfusion.tissue(name), self.labelling)
            for i, name in enumerate(TISSUES)
        )
        return sum(signals) * self.relative_m0 * self.mask

    def truth(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Perfusion (ml/100g/min) and transit time (s) of the mixed voxel."""
        return mixed(self.perfusion, self.fractions)


class Batch(NamedTuple):
    """A batch of training.

    Attributes:
        noisy, clean: difference signals (batch, channels, y, x), 0 outside the brain.
        slices: what was measured.
        mask: brain (batch, 1, y, x), 0 or 1.
        guide: anatomy as a guided network sees it (batch, 3, y, x).
    """

    noisy: torch.Tensor
    clean: torch.Tensor
    slices: Slices
    mask: torch.Tensor
    guide: torch.Tensor


def mixed_density(fractions: torch.Tensor, densities: Mapping[str, Any] = PROTON_DENSITY) -> torch.Tensor:
    """Proton density of the voxel (batch, 1, y, x) from that of each tissue, a number or (batch, 1, 1, 1)."""
    return sum(densities[name] * fractions[:, i : i + 1] for i, name in enumerate(TISSUES))


def draw_relative_m0(density: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """M0 over its median: the voxel's proton density under a smooth receive field, (batch, 1, y, x)."""
    field = smooth_field(len(density), density.shape[-1], RECEIVE_SCALE_VOXELS, generator)
    median = spread(uniform(len(density), MEDIAN_VARIATION, generator))
    return (density / MEDIAN_DENSITY * torch.exp(RECEIVE_VARIATION * field) / median).clamp_min(LEAST_RELATIVE_M0)


def draw_labelling(batch: int, simulation: Mapping[str, Any], generator: torch.Generator) -> Labelling:
    """One random delay, or the fixed delays of a model for several; a random label duration."""
    duration = uniform(batch, simulation["label_duration_s"], generator)
    if simulation["delays_s"]:
        delays = torch.tensor(simulation["delays_s"], device=generator.device).expand(batch, -1)
        return Labelling(delays, duration)
    return Labelling(uniform(batch, simulation["post_label_delay_s"], generator)[:, None], duration)


def draw_small_lesions(
    perfusion: Perfusion, settings: Mapping[str, Any], voxel_mm: torch.Tensor, generator: torch.Generator
) -> tuple[Perfusion, torch.Tensor]:
    """A few round lesions per slice, hyper- or hypoperfused, most of them small: what anatomy cannot tell.

    Args:
        perfusion: before.
        settings: ``count`` at most, ``probability`` of each, ``diameter_mm``.
        voxel_mm: voxel size in the slice (batch,).
        generator: source of randomness.

    Returns:
        The changed perfusion and the share of each voxel in a lesion.
    """
    batch, size, total = len(perfusion.gm_cbf), perfusion.gm_cbf.shape[-1], torch.zeros_like(perfusion.gm_cbf)
    for _ in range(settings["count"]):
        present = spread((uniform(batch, (0, 1), generator) < settings["probability"]).float())
        centres = torch.stack([uniform(batch, (0, size), generator) for _ in range(2)], 1)
        diameter = torch.exp(uniform(batch, np.log(settings["diameter_mm"]), generator))
        shape = torch.stack([uniform(batch, SMALL_SHAPE, generator) for _ in range(2)], 1)
        share = present * disc(batch, size, centres, shape * (diameter / 2 / voxel_mm)[:, None], SMALL_EDGE_VOXELS)
        hyper = uniform(batch, (0, 1), generator) < 0.5
        more, less = (uniform(batch, limits, generator) for limits in SMALL_FACTORS)
        late = uniform(batch, SMALL_DELAY_S, generator)
        shift = torch.where(hyper, torch.full_like(late, HYPER_DELAY_S), late)
        perfusion = apply_lesion(perfusion, share, spread(torch.where(hyper, more, less)), spread(shift))
        total = torch.maximum(total, share)
    return perfusion, total


def pair_noise(slices: Slices, snr: torch.Tensor, physiological: torch.Tensor, static: torch.Tensor) -> Noise:
    """Noise of one pair.

    Args:
        slices: what is measured.
        snr: of a pair (batch,).
        physiological: over thermal noise in grey matter (batch,).
        static: signal of static tissue over M0 (batch,).
    """
    thermal = spread(1 / snr)
    strength = spread(physiological) * thermal * physiological_map(slices.fractions)
    level = spread(static) * slices.relative_m0 / unit_signal(slices.labelling).mean(1, keepdim=True)
    return Noise(thermal, strength, level)


def draw_noise(slices: Slices, simulation: Mapping[str, Any], generator: torch.Generator) -> Noise:
    """Noise of a pair from the ranges of the settings."""
    batch = len(slices.fractions)
    snr = torch.exp(uniform(batch, np.log(simulation["pair_snr"]), generator))
    physiological = uniform(batch, simulation["physiological_noise"], generator)
    return pair_noise(slices, snr, physiological, uniform(batch, simulation["static_signal"], generator))


def draw_pairs(batch: int, simulation: Mapping[str, Any], generator: torch.Generator) -> torch.Tensor:
    """How many pairs are averaged: one of the shares of one of the numbers acquired, (batch, 1, 1, 1)."""
    numbers = [round(share * total) for total in simulation["pairs"] for share in simulation["shares"]]
    index = torch.randint(len(numbers), (batch,), generator=generator, device=generator.device)
    return spread(torch.tensor(numbers, dtype=torch.float32, device=generator.device)[index])


def draw_slices(
    fractions: torch.Tensor, voxel_mm: torch.Tensor, simulation: Mapping[str, Any], generator: torch.Generator
) -> Slices:
    """Perfusion, lesions, M0 and labelling drawn for slices of tissue (batch, 3, y, x)."""
    batch, size = len(fractions), fractions.shape[-1]
    random = uniform(batch, (0, 1), generator) < simulation["random_tissue_share"]
    fractions = torch.where(spread(random), random_tissue(batch, size, generator), fractions)
    even, lesion = draw_lesions(draw_perfusion(batch, size, generator), simulation["lesion"], voxel_mm, generator)
    perfusion = add_specks(even, generator)
    specks = (perfusion.gm_cbf != even.gm_cbf).float()
    perfusion, small = draw_small_lesions(perfusion, simulation["small_lesions"], voxel_mm, generator)
    densities = {name: spread(uniform(batch, limits, generator)) for name, limits in DENSITY_RANGE.items()}
    relative_m0 = draw_relative_m0(mixed_density(fractions, densities), generator)
    return Slices(
        perfusion,
        even,
        fractions,
        relative_m0,
        draw_labelling(batch, simulation, generator),
        lesion.maximum(small).maximum(specks),
    )


def simulate(
    fractions: torch.Tensor, voxel_mm: torch.Tensor, simulation: Mapping[str, Any], generator: torch.Generator
) -> Batch:
    """A batch of averaged difference images with their noise-free truth and their anatomy.

    Args:
        fractions: CSF, GM, WM (batch, 3, y, x), square slices.
        voxel_mm: voxel size in the slice (batch,), mm.
        simulation: the block ``simulation`` of the settings.
        generator: source of randomness, on the device of the tensors.
    """
    slices = draw_slices(fractions, voxel_mm, simulation, generator)
    noise = draw_noise(slices, simulation, generator)
    clean, mask = slices.clean(), slices.mask
    noisy = measure_average(clean, noise, draw_pairs(len(clean), simulation, generator), generator) * mask
    guide = draw_guide(slices, voxel_mm, simulation["anatomy"], generator)
    return Batch(noisy, clean, slices, mask, guide)
