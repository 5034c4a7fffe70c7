"""Held-out subjects for the validation: whole slices of known tissue, and scans of them pair by pair."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from scan2map.phantom.slices.perfusion import Perfusion, draw_perfusion, seeded
from scan2map.phantom.slices.tissue import Head, axial_slices, load_heads
from scan2map.systems.asl_denoise.anatomy import measured_guide, random_directions
from scan2map.systems.asl_denoise.labelling import Labelling
from scan2map.systems.asl_denoise.noise import Noise, measure_average, measure_pair
from scan2map.systems.asl_denoise.reference import Average
from scan2map.systems.asl_denoise.simulator import Slices, draw_relative_m0, mixed_density, pair_noise

PURE_GM, PURE_WM = 0.8, 0.9
GM_CBF, WM_CBF = 65.0, 20.0  # Ulas et al. 2018, section 3, ml/100g/min


class Scene(NamedTuple):
    """One simulated scan of a held-out subject.

    Attributes:
        subject: label.
        acquisition: name of its settings, ``synthetic`` or ``real``.
        slices: what is measured.
        noise: of one pair.
        pairs: acquired.
        seed: of the subject's noise.
        guide: anatomy as a guided network sees it (batch, 3, y, x).
    """

    subject: str
    acquisition: str
    slices: Slices
    noise: Noise
    pairs: int
    seed: int
    guide: torch.Tensor

    def regions(self) -> dict[str, torch.Tensor]:
        """Boolean maps (batch, 1, y, x): nearly pure grey and white matter, and the brain."""
        _, gm, wm = self.slices.fractions.split(1, dim=1)
        return {"GM": gm > PURE_GM, "WM": wm > PURE_WM, "brain": self.slices.mask > 0}

    def sigma(self, pairs: int) -> float:
        """Root mean square noise of an average in the brain."""
        variance = self.noise.thermal.square() + self.noise.physiological.square()
        return float((variance.expand_as(self.slices.mask)[self.slices.mask > 0].mean() / pairs).sqrt())

    def subset(self, share: float) -> frozenset[int]:
        """The randomly chosen pairs that are averaged as input."""
        chosen = np.random.default_rng([self.seed, round(1000 * share)]).permutation(self.pairs)
        return frozenset(int(number) for number in chosen[: round(share * self.pairs)])

    def averages(self, shares: Sequence[float]) -> Iterator[tuple[float, Average, Average]]:
        """For every share: the average of its pairs, and that of all others, measured pair by pair."""
        clean, chosen = self.slices.clean(), {share: self.subset(share) for share in shares}
        total, sums = torch.zeros_like(clean), {share: torch.zeros_like(clean) for share in shares}
        for number in range(self.pairs):
            pair = measure_pair(clean, self.noise, seeded(self.seed, number)) * self.slices.mask
            total += pair
            for share in shares:
                sums[share] += pair if number in chosen[share] else 0
        for share, pairs in chosen.items():
            others = frozenset(range(self.pairs)) - pairs
            rest = Average((total - sums[share]) / len(others), others)
            yield share, Average(sums[share] / len(pairs), pairs), rest

    def average_of(self, pairs: int, repeat: int) -> torch.Tensor:
        """An average of so many pairs; the same ``repeat`` gives the same noise, whatever the tissue."""
        clean = self.slices.clean()
        count = torch.full((len(clean), 1, 1, 1), float(pairs))
        return measure_average(clean, self.noise, count, seeded(self.seed, 1_000 + repeat)) * self.slices.mask


def subject_seed(seed: int, subject: str, acquisition: str) -> int:
    """A number for the noise of a subject's scan."""
    words = zlib.crc32(f"{subject} {acquisition}".encode())
    return int(np.random.SeedSequence([seed, words]).generate_state(1)[0])


def _with_means(perfusion: Perfusion) -> Perfusion:
    """Perfusion with the published means of grey and white matter in every slice."""

    def scaled(values: torch.Tensor, mean: float) -> torch.Tensor:
        return values * mean / values.mean((1, 2, 3), keepdim=True)

    return perfusion._replace(gm_cbf=scaled(perfusion.gm_cbf, GM_CBF), wm_cbf=scaled(perfusion.wm_cbf, WM_CBF))


def labelling_of(acquisition: Mapping[str, Any], count: int, delays_s: Sequence[float] = ()) -> Labelling:
    """The label parameters of every slice; the delays of a model for several win."""
    delays = torch.tensor(list(delays_s) or [acquisition["post_label_delay_s"]]).expand(count, -1)
    return Labelling(delays, torch.full((count,), float(acquisition["label_duration_s"])))


def scene_guide(slices: Slices, protocol: Mapping[str, Any], seed: int, shift_mm: float) -> torch.Tensor:
    """The anatomy that comes with a scan: noisy M0, tissue maps that are ``shift_mm`` off in each slice."""
    generator, count = seeded(seed, 3_000), len(slices.mask)
    shift = random_directions(torch.full((count,), shift_mm / protocol["voxel_size_mm"][0]), generator)
    return measured_guide(slices, torch.full((count,), protocol["m0_noise"]), shift, generator)


def build_scene(
    head: Head, subject: str, name: str, protocol: Mapping[str, Any], delays_s: Sequence[float] = ()
) -> Scene:
    """Axial slices of one subject with their own draw of perfusion, under one of the acquisitions.

    Args:
        head: tissue.
        subject: label.
        name: of the acquisition.
        protocol: the block ``evaluation`` of the settings.
        delays_s: of a model for several delays.
    """
    acquisition, count = protocol["settings"][name], protocol["slices"]
    seed = subject_seed(protocol["seed"], subject, name)
    generator = seeded(seed)
    fractions = axial_slices(head, count, protocol["slice_voxels"], protocol["voxel_size_mm"])
    perfusion = _with_means(draw_perfusion(count, protocol["slice_voxels"], generator))
    relative_m0 = draw_relative_m0(mixed_density(fractions), generator)
    labelling = labelling_of(acquisition, count, delays_s)
    slices = Slices(perfusion, perfusion, fractions, relative_m0, labelling, torch.zeros_like(fractions[:, :1]))
    levels = (acquisition["pair_snr"], protocol["physiological_noise"], protocol["static_signal"])
    noise = pair_noise(slices, *(torch.full((count,), float(level)) for level in levels))
    guide = scene_guide(slices, protocol, seed, protocol["registration_error_mm"])
    return Scene(subject, name, slices, noise, acquisition["pairs"], seed, guide)


def build_scenes(test: Sequence[Path], protocol: Mapping[str, Any], delays_s: Sequence[float] = ()) -> Iterator[Scene]:
    """Every acquisition of every data-set file of the test part."""
    for head, path in zip(load_heads(test), map(Path, test), strict=True):
        for name in protocol["settings"]:
            yield build_scene(head, path.stem.removeprefix("sub-"), name, protocol, delays_s)
