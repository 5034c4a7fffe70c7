"""Simulated multi-delay PCASL and VSASL slices with known perfusion and transit time.

Signals follow the one-compartment or the general kinetic model (``labelling.difference_signals``), tissue
compartments of a voxel add up, and control and label images carry their own Rician noise.

SNR is defined as SNR_GM = mean grey-matter ΔM over the delays / σ, with σ the noise of one difference volume: control
and label carry σ/√2 each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

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
from scan2map.phantom.slices.tissue import TISSUES, random_tissue
from scan2map.physics.noise import rician_magnitude
from scan2map.systems.asl_quantnet.labelling import TISSUE_T1_S, Delays, Labelling, difference_signals

STATIC_FRACTION = 0.05  # static tissue left by background suppression, share of M0
PCASL_PULSES, VSASL_PULSES = 4, 3  # background-suppression pulses that the label sees


class Slices(NamedTuple):
    """Tissue and labelling of a batch before it is measured.

    Attributes:
        perfusion: of pure tissue.
        fractions: CSF, GM, WM (batch, 3, y, x).
        lesion: share of the voxel in a lesion (batch, 1, y, x).
        labelling: label parameters (batch,).
        m0: equilibrium signal relative to the one that σ is given for (batch,).
    """

    perfusion: Perfusion
    fractions: torch.Tensor
    lesion: torch.Tensor
    labelling: Labelling
    m0: torch.Tensor

    def to(self, device: str) -> Slices:
        """The same on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Slices:
        """Every tensor changed in the same way."""
        return Slices(
            Perfusion(*map(change, self.perfusion)), change(self.fractions), change(self.lesion),
            Labelling(*map(change, self.labelling)), change(self.m0),
        )  # fmt: skip

    def repeat(self, copies: int) -> Slices:
        """Each slice ``copies`` times, one after the other."""
        return self.each(partial(torch.repeat_interleave, repeats=copies, dim=0))


class Batch(NamedTuple):
    """A simulated batch.

    Attributes:
        difference: noisy ΔM/M0 (batch, channels, y, x), 0 outside the mask.
        clean: the same without noise.
        cbf: perfusion of the voxel (batch, 1, y, x), ml/100g/min.
        att_s: its flow-weighted transit time, s.
        fractions: CSF, GM, WM (batch, 3, y, x).
        mask: brain (batch, 1, y, x), 0 or 1.
        lesion: share of the voxel that a lesion takes (batch, 1, y, x).
        labelling: label parameters (batch,).
        sigma: noise of one difference volume relative to M0 (batch,).
    """

    difference: torch.Tensor
    clean: torch.Tensor
    cbf: torch.Tensor
    att_s: torch.Tensor
    fractions: torch.Tensor
    mask: torch.Tensor
    lesion: torch.Tensor
    labelling: Labelling
    sigma: torch.Tensor


def draw_labelling(batch: int, ranges: Mapping, generator: torch.Generator) -> Labelling:
    """Label parameters drawn from the ranges of domain randomisation (settings ``simulation.labelling``)."""
    suppression = uniform(batch, ranges["suppression_efficiency"], generator)
    return Labelling(
        uniform(batch, ranges["pcasl_efficiency"], generator) * suppression**PCASL_PULSES,
        uniform(batch, ranges["vsasl_efficiency"], generator) * suppression**VSASL_PULSES,
        uniform(batch, ranges["blood_t1_s"], generator),
        uniform(batch, ranges["label_duration_s"], generator),
        uniform(batch, ranges["delay_offset_s"], generator),
    )


def clean_signals(slices: Slices, delays: Delays, convention: str = "blood_t1") -> torch.Tensor:
    """Noise-free ΔM/M0 (batch, channels, y, x): the signals of the voxel's tissues weighted by their shares."""
    total = 0.0
    for index, name in enumerate(TISSUES):
        signals = difference_signals(
            *slices.perfusion.tissue(name), slices.labelling, delays, convention=convention,
            tissue_t1_s=TISSUE_T1_S[name],
        )  # fmt: skip
        total = total + slices.fractions[:, index : index + 1] * signals
    return total


def grey_matter_signal(clean: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
    """Mean ΔM/M0 of grey matter over voxels and delays, (batch,)."""
    weight = fractions[:, 1:2] * (fractions[:, 1:2] > 0.5)
    total = weight.sum((1, 2, 3)).clamp_min(1e-6)
    return (clean.mean(1, keepdim=True) * weight).sum((1, 2, 3)) / total


def nominal_grey_signal(slices: Slices, delays: Delays, convention: str = "blood_t1") -> torch.Tensor:
    """Mean ΔM/M0 of pure grey matter at the slice's mean perfusion, (batch,): needs no grey matter in the slice."""
    cbf, att_s = (value.mean((1, 2, 3), keepdim=True) for value in slices.perfusion.tissue("gm"))
    return difference_signals(cbf, att_s, slices.labelling, delays, convention=convention).mean((1, 2, 3))


def add_noise(clean: torch.Tensor, sigma: torch.Tensor, m0: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """ΔM/M0 measured as control minus label, each with Rician noise of σ/√2 relative to a unit M0.

    Args:
        clean: noise-free ΔM/M0 (batch, channels, y, x).
        sigma: noise of one difference volume (batch,).
        m0: equilibrium signal relative to the reference that σ is given for (batch,).
        generator: source of randomness.
    """
    channel = spread(sigma) / np.sqrt(2)
    m0 = spread(m0)
    noise = torch.randn(4, *clean.shape, generator=generator, device=clean.device)
    control = rician_magnitude(STATIC_FRACTION * m0 * torch.ones_like(clean), channel, noise[0], noise[1])
    label = rician_magnitude((STATIC_FRACTION - clean) * m0, channel, noise[2], noise[3])
    return (control - label) / m0


def simulate(
    fractions: torch.Tensor, voxel_mm: torch.Tensor, settings: Mapping, delays: Delays, generator: torch.Generator
) -> Batch:
    """Perfusion, lesions, label parameters and noise drawn anew for slices of tissue.

    Args:
        fractions: CSF, GM, WM (batch, 3, y, x), square slices.
        voxel_mm: voxel size in the slice (batch,), mm.
        settings: the block ``simulation``.
        delays: PCASL and VSASL delays.
        generator: source of randomness, on the device of the tensors.

    Returns:
        ``settings.realisations`` noisy copies of each slice, following each other.
    """
    batch, copies = len(fractions), settings["realisations"]
    random = uniform(batch, (0, 1), generator) < settings["random_tissue_share"]
    fractions = torch.where(spread(random), random_tissue(batch, fractions.shape[-1], generator), fractions)
    perfusion = add_specks(draw_perfusion(batch, fractions.shape[-1], generator), generator)
    perfusion, lesion = draw_lesions(perfusion, settings["lesion"], voxel_mm, generator)
    labelling = draw_labelling(batch, settings["labelling"], generator)
    snr = torch.exp(uniform(batch, np.log(settings["snr_gm"]), generator))
    drawn = Slices(perfusion, fractions, lesion, labelling, uniform(batch, settings["m0"], generator))
    sigma = nominal_grey_signal(drawn, delays, settings["convention"]) / snr
    return measure(drawn.repeat(copies), sigma.repeat_interleave(copies), delays, generator, settings["convention"])


def measure(
    slices: Slices, sigma: torch.Tensor, delays: Delays, generator: torch.Generator, convention: str = "blood_t1"
) -> Batch:
    """Measure known tissue: signals, noise (σ of one difference volume relative to M0, (batch,)), mask."""
    clean = clean_signals(slices, delays, convention)
    mask = (slices.fractions.sum(1, keepdim=True) > BRAIN_SHARE).float()
    cbf, att_s = mixed(slices.perfusion, slices.fractions)
    noisy = add_noise(clean, sigma, slices.m0, generator)
    return Batch(
        noisy * mask, clean * mask, cbf * mask, att_s * mask, slices.fractions, mask, slices.lesion, slices.labelling,
        sigma,
    )  # fmt: skip
