"""What all acquisitions share: the head on the table, the scanner's settings, and what a scan hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from scan2map.errors import SettingError
from scan2map.phantom.acquisition.distortion import receive_field
from scan2map.phantom.acquisition.grid import AcquisitionGrid, HeadSampler, make_grid
from scan2map.phantom.acquisition.motion import motion_track, resting_place
from scan2map.phantom.series import Series
from scan2map.phantom.subject import DigitalSubject, random_generator
from scan2map.phantom.truth_names import LABELS

BRAIN_TISSUES = ("csf", "gm", "wm", "lesion")
FAT_SUPPRESSION = 0.1  # what is left of the scalp's signal after fat saturation


@dataclass(frozen=True)
class TruthImage:
    """One ground-truth image.

    Attributes:
        datatype, suffix, entities: its BIDS name.
        data, affine: values on an acquisition grid.
        description, units: for its sidecar.
    """

    datatype: str
    suffix: str
    data: np.ndarray
    affine: np.ndarray
    description: str
    units: str
    entities: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """Series of one modality, and what is true about them.

    Attributes:
        series: as acquired.
        images: ground truth on the acquisition grid.
        parameters: disturbances, seeds and positions by series description.
        motion: rows of the head-motion table (diffusion only).
    """

    series: list[Series]
    images: list[TruthImage] = field(default_factory=list)
    parameters: dict[str, dict] = field(default_factory=dict)
    motion: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Scanner:
    """A head in the scanner, and the settings of the session.

    Attributes:
        subject: the digital head.
        pose: 4x4, head as built to head as it lies in this session.
        settings: the ``phantom`` configuration block.
        seed: of the session.
    """

    subject: DigitalSubject
    pose: np.ndarray
    settings: dict
    seed: int

    def generator(self, *labels: str) -> np.random.Generator:
        """Randomness that depends on the session's seed and the labels alone."""
        return random_generator(self.seed, *labels)

    @cached_property
    def brain_centre_mm(self) -> np.ndarray:
        """Centre of the brain where it lies, world RAS mm: operators centre the field of view on it."""
        inside = np.argwhere(self.subject.brain > 0.5)
        centre = (inside.min(0) + inside.max(0)) / 2
        return (self.pose @ self.subject.affine @ np.r_[centre, 1])[:3]

    def sampler(self, protocol: dict) -> HeadSampler:
        """Sampler on the grid of a protocol (``voxel_size_mm``, ``field_of_view_mm``, ``oblique_deg``)."""
        grid = make_grid(
            protocol["voxel_size_mm"], protocol["field_of_view_mm"], protocol["oblique_deg"], self.brain_centre_mm
        )
        return HeadSampler(self.subject.affine, self.subject.field_hz.shape, grid)

    def resting_place(self, description: str) -> np.ndarray:
        """Head as built to head as it lies at the start of a series, 4x4."""
        shift = resting_place(self.settings["motion"], self.generator(description, "place"), self.brain_centre_mm)
        return shift @ self.pose

    def positions(self, description: str, volumes: int) -> list[np.ndarray]:
        """Head as built to head as it lies at each volume of a series, 4x4 each."""
        track = motion_track(
            volumes, self.settings["motion"], self.generator(description, "motion"), self.brain_centre_mm
        )
        start = self.resting_place(description)
        return [step @ start for step in track]

    def sensitivity(self, position_mm: np.ndarray) -> np.ndarray:
        """Receive field of the coils at world positions, the same for all series of the session."""
        return receive_field(position_mm, self.settings["receive_field_strength"], self.generator("receive field"))

    def tissue_signal(self, by_tissue: dict[str, float]) -> torch.Tensor:
        """Volume-weighted signal Σ fraction · value on the subject's grid, (x, y, z)."""
        total = sum(self.subject.fractions[name] * np.float32(value) for name, value in by_tissue.items())
        return torch.from_numpy(total)

    def noise_sigma(self, image: np.ndarray, weight: np.ndarray, ratio: float) -> float:
        """Noise standard deviation for a signal-to-noise ratio: mean signal in the tissue divided by it.

        Args:
            image: noise-free signal.
            weight: tissue fraction on the same grid; voxels above 0.9 of its maximum count.
            ratio: signal-to-noise ratio.

        Returns:
            The standard deviation, 0 where noise is switched off.

        Raises:
            SettingError: the tissue is not in the field of view.
        """
        inside = weight > 0.9 * weight.max()
        if weight.max() <= 0:
            raise SettingError("The field of view misses the brain", remedy="enlarge phantom.*.field_of_view_mm")
        return float(abs(image[inside]).mean() / ratio) * bool(self.settings["noise"]["enabled"])

    def tissue_maps(self, sampler: HeadSampler, head_to_world: np.ndarray) -> dict[str, np.ndarray]:
        """Volume fractions of the brain tissues on an acquisition grid."""
        stack = torch.stack([torch.from_numpy(self.subject.fractions[name]) for name in BRAIN_TISSUES])
        return dict(zip(BRAIN_TISSUES, sampler.read(stack, head_to_world).numpy(), strict=True))


def tissue_truth(datatype: str, maps: dict[str, np.ndarray], affine: np.ndarray, names=("csf", "gm", "wm")):
    """Ground-truth images of the tissue fractions and of the brain mask (more than half brain).

    Args:
        datatype: BIDS folder.
        maps: fractions by tissue.
        affine: of their grid.
        names: which tissues get a map of their own.
    """
    mask = (sum(maps.values()) > 0.5).astype(np.float32)
    images = [
        TruthImage(datatype, "probseg", maps[name], affine, f"Volume fraction of {LABELS[name]}", "arbitrary",
                   {"label": LABELS[name]})
        for name in names
    ]  # fmt: skip
    return [*images, TruthImage(datatype, "mask", mask, affine, "Brain: more than half of the voxel", "arbitrary",
                                {"desc": "brain"})]  # fmt: skip


def grid_record(grid: AcquisitionGrid) -> dict:
    """Shape, voxel size and affine of a grid for the record."""
    size = [round(float(value), 6) for value in grid.voxel_size_mm]
    return {"shape": list(grid.shape), "voxel_size_mm": size, "affine": np.round(grid.affine, 6).tolist()}
