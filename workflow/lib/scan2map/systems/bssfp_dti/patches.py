"""Patches of training subjects: which sessions, where, turned and flipped how, is a function of the sample's number.

A flip or a turn of the image turns the tensors too. Turns about B0 (the third axis) keep what bSSFP knows of a fibre,
its angle to B0, and so does a left-right flip; turns about the other axes do not, and stay within how heads lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional
from torch.utils.data import Dataset

from scan2map.systems.bssfp_dti.channels import TEMPLATE_SOURCES, brain_mean, image_of, points_of, source_of
from scan2map.systems.bssfp_dti.place import flip_place, place_channels, turn_place
from scan2map.systems.bssfp_dti.representation import flip_elements, to_matrices, turn_elements
from scan2map.training.stream import Samples

BIAS_SHARE, BIAS_RANGE = 0.25, (0.0, 0.2)
NOISE_SHARE, NOISE_SD = 0.25, 0.01
WHOLE = 0.999  # a turned patch keeps the voxels that are all brain
VALIDATION_SEED = 20_268


@dataclass(frozen=True)
class Subject:
    """One subject in memory.

    Attributes:
        raw: ``bssfp`` (sessions, 24, x, y, z) or ``t1w`` (1, 1, x, y, z), float16, as far as they are needed.
        means: brain means of ``bssfp`` (per session) and ``t1w``.
        matrices: what is learned, unscaled, of every diffusion session (sessions, 6, x, y, z), 0 outside the brain.
        mask: brain (1, x, y, z), float32.
        voxels: of the brain (n, 3).
        place: where each voxel lies in the template and how it is turned there (12, x, y, z).
    """

    raw: Mapping[str, torch.Tensor]
    means: Mapping[str, list[float]]
    matrices: torch.Tensor
    mask: torch.Tensor
    voxels: np.ndarray
    place: torch.Tensor


def as_subject(arrays: Mapping[str, np.ndarray], modality: str, kind: str, voxel_size_mm: float) -> Subject:
    """A subject from the arrays of its data set file.

    Args:
        arrays: see :func:`scan2map.systems.bssfp_dti.cohort.simulate_cohort_subject`.
        modality: of the input.
        kind: parametrisation of the tensors, ``log`` or ``raw``.
        voxel_size_mm: of the grid.
    """
    mask = arrays["mask"] > 0
    brain = torch.from_numpy(mask.astype(np.float32))[None]
    several = {"bssfp": arrays["bssfp"], "t1w": arrays["t1w"][None, None]}
    raw = {name: torch.from_numpy(several[name].astype(np.float16)) for name in source_of(modality)}
    means = {name: [brain_mean(np.squeeze(session), mask) for session in several[name]] for name in ("bssfp", "t1w")}
    tensors = torch.from_numpy(arrays["tensor"].astype(np.float32))
    matrices, inside = torch.zeros_like(tensors), brain[0] > 0
    matrices[..., inside] = to_matrices(tensors[..., inside][..., None, None], kind)[..., 0, 0]
    place = place_channels(arrays[points_of(modality)], voxel_size_mm, mask)
    return Subject(raw, means, matrices, brain, np.argwhere(mask), place)


class Patches:
    """Draws training patches; ``training.stream.Samples`` numbers them.

    Args:
        subjects: to draw from.
        modality: of the input.
        settings: block ``patches`` of the system's settings.
        augment: whether to flip, turn, shade and add noise.
    """

    def __init__(self, subjects: Sequence[Subject], modality: str, settings: Mapping[str, Any], augment: bool = True):
        self.subjects, self.modality, self.settings, self.augment = subjects, modality, settings, augment

    def __call__(self, generator: np.random.Generator) -> dict[str, torch.Tensor]:
        """One patch: ``matrices`` (6, x, y, z), ``mask``, ``place``, and but for ``dt`` ``image`` (channels, …)."""
        subject = self.subjects[generator.integers(len(self.subjects))]
        centre = subject.voxels[generator.integers(len(subject.voxels))]
        sessions = {name: int(generator.integers(len(values))) for name, values in subject.raw.items()}
        matrices = subject.matrices[generator.integers(len(subject.matrices))]
        turn, flip = self._movement(generator)
        raw = {name: subject.raw[name][session] for name, session in sessions.items()}
        volumes = raw | {"matrices": matrices, "mask": subject.mask, "place": subject.place}
        size = self.settings["size_voxels"]
        parts = {name: crop(volume, centre, size, turn) for name, volume in volumes.items()}
        parts["mask"] = (parts["mask"] > WHOLE).float()
        if turn is not None:
            parts["matrices"] = turn_elements(parts["matrices"], turn.T)
            parts["place"] = turn_place(parts["place"], turn)
        if flip:
            parts = {name: values.flip(1) for name, values in parts.items()}
            parts["matrices"] = flip_elements(parts["matrices"], 0)
            parts["place"] = flip_place(parts["place"])
        means = {name: subject.means[name][sessions.get(name, 0)] for name in subject.means}
        sample = {"matrices": parts["matrices"] * parts["mask"], "mask": parts["mask"], "place": parts["place"]}
        if self.modality == "dt":
            return sample
        if self.modality in TEMPLATE_SOURCES:
            return sample | {"image": parts["place"]}
        return sample | {"image": self._disturbed(image_of(self.modality, parts, means), parts["mask"], generator)}

    def _movement(self, generator: np.random.Generator) -> tuple[np.ndarray | None, bool]:
        """A turn (or none) and whether to flip; the same numbers are drawn in any case."""
        share, limits = self.settings["turned_share"], self.settings["turn_deg"]
        turned, flipped = generator.random(2)
        angles = generator.uniform(-1, 1, 3) * limits
        turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        return (
            turn if self.augment and turned < share else None,
            bool(self.augment and flipped < self.settings["flipped_share"]),
        )

    def _disturbed(self, image: torch.Tensor, mask: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        """Shading of the magnitudes and noise on all channels, each in a quarter of the samples, as the document."""
        seeds = generator.integers(2**31, size=2)
        if not self.augment:
            return image
        from monai.transforms import RandBiasField, RandGaussianNoise

        shade = RandBiasField(prob=BIAS_SHARE, coeff_range=BIAS_RANGE)
        noise = RandGaussianNoise(prob=NOISE_SHARE, std=NOISE_SD)
        states = [np.random.RandomState(int(seed)) for seed in seeds]
        shaded = image.clone()
        magnitudes = slice(0, None, 2) if "bssfp" in source_of(self.modality) else slice(None)
        shaded[magnitudes] = shade.set_random_state(state=states[0])(image[magnitudes].contiguous()).as_tensor()
        return noise.set_random_state(state=states[1])(shaded).as_tensor() * mask


def crop(volume: torch.Tensor, centre: np.ndarray, size: int, turn: np.ndarray | None) -> torch.Tensor:
    """A cube around a voxel, 0 beyond the volume; where it is turned, by one linear interpolation.

    Args:
        volume: (channels, x, y, z).
        centre: voxel.
        size: side of the cube, voxels.
        turn: (3, 3) rotation of the cube's axes in the volume, or ``None``.
    """
    if turn is None:
        low = np.asarray(centre) - size // 2
        high = low + size
        inside = tuple(slice(max(0, a), min(n, b)) for a, b, n in zip(low, high, volume.shape[1:], strict=True))
        before = [max(0, -int(a)) for a in low]
        after = [max(0, int(b) - n) for b, n in zip(high, volume.shape[1:], strict=True)]
        padding = [edge for pair in zip(reversed(before), reversed(after), strict=True) for edge in pair]
        return functional.pad(volume[(slice(None), *inside)].float(), padding)
    offsets = torch.arange(size, dtype=torch.float32) - size // 2
    points = torch.stack(torch.meshgrid(offsets, offsets, offsets, indexing="ij"), dim=-1)
    voxels = points @ torch.as_tensor(turn.T, dtype=torch.float32) + torch.as_tensor(centre, dtype=torch.float32)
    extent = torch.tensor(volume.shape[1:], dtype=torch.float32) - 1
    normalised = (2 * voxels / extent - 1).flip(-1)
    return functional.grid_sample(volume[None].float(), normalised[None], align_corners=True)[0]


class FixedPatches(Dataset):
    """The first patches of a stream without disturbance, for validation."""

    def __init__(self, draw: Patches, count: int):
        samples = Samples(draw, VALIDATION_SEED)
        self.items = [samples[index] for index in range(count)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.items[index]
