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
    Perfusion,
    add_specks,
    draw_lesions,
    draw_perfusion,
    mixed,
    spread,
    uniform,
)
from scan2map.phantom.slices.tissue import TISSUES, random_tissue, smooth_field
from scan2map.systems.asl_denoise.labelling import Labelling, relative_signal, unit_signal
from scan2map.systems.asl_denoise.noise import Noise, measure_average, physiological_map

# Proton density relative to water, and its median in a brain.
PROTON_DENSITY = {"csf": 1.0, "gm": 0.85, "wm": 0.72}
MEDIAN_DENSITY = 0.79
RECEIVE_VARIATION, RECEIVE_SCALE_VOXELS = 0.15, 20.0
MEDIAN_VARIATION = (0.9, 1.1)  # the median of a slice's brain is not known exactly
LEAST_RELATIVE_M0 = 0.3  # guards the voxels outside the brain


class Slices(NamedTuple):
    """Known tissue before it is measured.

    Attributes:
        perfusion: of pure tissue.
        fractions: CSF, GM, WM (batch, 3, y, x).
        relative_m0: M0 over its median in the brain (batch, 1, y, x).
        labelling: label parameters.
        lesion: share of the voxel in a lesion (batch, 1, y, x).
    """

    perfusion: Perfusion
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
        signals = (
            self.fractions[:, i : i + 1] * relative_signal(*self.perfusion.tissue(name), self.labelling)
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
    """

    noisy: torch.Tensor
    clean: torch.Tensor
    slices: Slices
    mask: torch.Tensor


def draw_relative_m0(fractions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """M0 over its median: proton density of the voxel under a smooth receive field, (batch, 1, y, x)."""
    density = sum(PROTON_DENSITY[name] * fractions[:, i : i + 1] for i, name in enumerate(TISSUES))
    field = smooth_field(len(fractions), fractions.shape[-1], RECEIVE_SCALE_VOXELS, generator)
    median = spread(uniform(len(fractions), MEDIAN_VARIATION, generator))
    return (density / MEDIAN_DENSITY * torch.exp(RECEIVE_VARIATION * field) / median).clamp_min(LEAST_RELATIVE_M0)


def draw_labelling(batch: int, simulation: Mapping[str, Any], generator: torch.Generator) -> Labelling:
    """One random delay, or the fixed delays of a model for several; a random label duration."""
    duration = uniform(batch, simulation["label_duration_s"], generator)
    if simulation["delays_s"]:
        delays = torch.tensor(simulation["delays_s"], device=generator.device).expand(batch, -1)
        return Labelling(delays, duration)
    return Labelling(uniform(batch, simulation["post_label_delay_s"], generator)[:, None], duration)


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
    perfusion = add_specks(draw_perfusion(batch, size, generator), generator)
    perfusion, lesion = draw_lesions(perfusion, simulation["lesion"], voxel_mm, generator)
    relative_m0 = draw_relative_m0(fractions, generator)
    return Slices(perfusion, fractions, relative_m0, draw_labelling(batch, simulation, generator), lesion)


def simulate(
    fractions: torch.Tensor, voxel_mm: torch.Tensor, simulation: Mapping[str, Any], generator: torch.Generator
) -> Batch:
    """A batch of averaged difference images with their noise-free truth.

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
    return Batch(noisy, clean, slices, mask)
