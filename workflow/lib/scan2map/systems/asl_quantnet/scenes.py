"""Held-out subjects for the validation: whole slices of known tissue, and how they are measured."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from scan2map.phantom.slices.perfusion import BRAIN_SHARE, draw_perfusion, seeded
from scan2map.phantom.slices.tissue import Head, axial_slices, load_heads
from scan2map.systems.asl_quantnet.labelling import Delays, Labelling, nominal
from scan2map.systems.asl_quantnet.simulator import (
    Batch,
    Slices,
    clean_signals,
    draw_labelling,
    grey_matter_signal,
    measure,
)

PURE_GM, PURE_WM, PERFUSED = 0.8, 0.9, 0.8


class Scene(NamedTuple):
    """The slices of one held-out subject.

    Attributes:
        subject: label.
        slices: tissue, perfusion and label parameters.
        delays: PCASL and VSASL delays.
        seed: of the subject's noise.
    """

    subject: str
    slices: Slices
    delays: Delays
    seed: int

    @property
    def mask(self) -> torch.Tensor:
        """Brain (batch, 1, y, x), 0 or 1."""
        return (self.slices.fractions.sum(1, keepdim=True) > BRAIN_SHARE).float()

    def regions(self) -> dict[str, torch.Tensor]:
        """Boolean maps (batch, 1, y, x): nearly pure grey and white matter, and all perfused tissue."""
        _, gm, wm = self.slices.fractions.split(1, dim=1)
        return {"GM": gm > PURE_GM, "WM": wm > PURE_WM, "tissue": gm + wm > PERFUSED}

    def sigma(self, snr_gm: float, convention: str = "blood_t1") -> torch.Tensor:
        """Noise of one difference volume: mean grey-matter signal of each slice over the SNR, (batch,)."""
        clean = clean_signals(self.slices, self.delays, convention)
        return grey_matter_signal(clean, self.slices.fractions) / snr_gm

    def measured(self, snr_gm: float, repeat: int = 0, convention: str = "blood_t1") -> Batch:
        """A noisy scan of the subject; the same numbers give the same noise."""
        generator = seeded(self.seed, repeat, device=self.slices.m0.device)
        return measure(self.slices, self.sigma(snr_gm, convention), self.delays, generator, convention)

    def relabelled(self, labelling: Labelling) -> Scene:
        """The same subject under other label parameters."""
        return self._replace(slices=self.slices._replace(labelling=labelling))


def subject_seed(seed: int, subject: str) -> int:
    """A number for a subject's perfusion and noise."""
    return int(np.random.SeedSequence([seed, zlib.crc32(subject.encode())]).generate_state(1)[0])


def build_scene(head: Head, subject: str, settings: Mapping[str, Any], device: str = "cpu") -> Scene:
    """Axial slices of one subject, each with its own draw of perfusion, and nominal label parameters.

    Args:
        head: its tissue.
        subject: label.
        settings: the system's settings.
        device: where the tensors lie.
    """
    protocol, acquisition = settings["evaluation"], settings["acquisition"]
    count, size = protocol["slices"], protocol["slice_voxels"]
    seed = subject_seed(protocol["seed"], subject)
    fractions = axial_slices(head, count, size, protocol["voxel_size_mm"])
    perfusion, labelling = draw_perfusion(count, size, seeded(seed)), nominal(acquisition["labelling"], count)
    slices = Slices(perfusion, fractions, torch.zeros_like(fractions[:, :1]), labelling, torch.ones(count)).to(device)
    return Scene(
        subject, slices, Delays(tuple(acquisition["pcasl_delays_s"]), tuple(acquisition["vsasl_delays_s"])), seed
    )


def build_scenes(test: Sequence[Path], settings: Mapping[str, Any], device: str = "cpu") -> list[Scene]:
    """One scene per data-set file of the test part."""
    heads = load_heads(test)
    return [
        build_scene(head, path.stem.removeprefix("sub-"), settings, device)
        for head, path in zip(heads, map(Path, test), strict=True)
    ]


def randomised(scene: Scene, settings: Mapping[str, Any]) -> Scene:
    """The scene with label parameters drawn anew for each slice from the ranges of domain randomisation."""
    generator = seeded(scene.seed, 1_000, device=scene.slices.m0.device)
    count = len(scene.slices.fractions)
    return scene.relabelled(draw_labelling(count, settings["simulation"]["labelling"], generator))
