"""Diffusion scans of one simulated head with chosen disturbances, and what is true about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from scan2map.phantom.acquisition.dwi import MAIN, REVERSED, DiffusionHead, measure, truth_images
from scan2map.phantom.acquisition.gradients import GradientTable, multi_shell_table
from scan2map.phantom.acquisition.grid import HeadSampler
from scan2map.phantom.acquisition.motion import random_walk
from scan2map.phantom.acquisition.scan import BRAIN_TISSUES, Scanner
from scan2map.phantom.series import Series

# Head at rest within each series, no distortion, no lost slices; noise and place stay as they are.
UNDISTURBED = {
    "motion": {"translation_rms_mm": 0.0, "rotation_rms_deg": 0.0},
    "susceptibility": {"enabled": False},
    "eddy": {"enabled": False},
    "dropout": {"slice_probability": 0.0},
}
# The head lies in the same place in every series.
SAME_PLACE = {"between_series_mm": 0.0, "between_series_deg": 0.0}


class SimulatedScan(NamedTuple):
    """A diffusion scan and the truth about its disturbances.

    Attributes:
        main: the diffusion series.
        reverse: the b = 0 series with opposed phase encoding.
        motion: (t, 4, 4) true world motion (mm) of the head from the first volume of ``main`` to each of its volumes.
        lost: (t, slices) True where a slice of ``main`` lost signal.
        place: (4, 4) head as built to head as it lies in the first volume.
    """

    main: Series
    reverse: Series
    motion: np.ndarray
    lost: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class SimulatedHead:
    """A head on the scanner's table, ready to be scanned again and again with other disturbances.

    Attributes:
        scanner: head, pose, protocol (block ``phantom``) and seed. The seed fixes noise, receive field and the course
            of the motion, so that two scans differ by their disturbances alone.
    """

    scanner: Scanner

    @property
    def protocol(self) -> dict:
        """The diffusion protocol, ``phantom.dwi``."""
        return self.scanner.settings["dwi"]

    @property
    def sampler(self) -> HeadSampler:
        """The scan's grid, and how the head is read on it."""
        return self.scanner.sampler(self.protocol)

    @property
    def table(self) -> GradientTable:
        """The gradient table of the protocol, world axes."""
        return multi_shell_table(self.protocol["shells"], self.protocol["b0_volumes"])

    def with_changes(self, changes: Mapping[str, Mapping]) -> SimulatedHead:
        """The same head under other disturbances (keys of the block ``phantom``)."""
        settings = self.scanner.settings
        changed = {name: settings[name] | dict(values) for name, values in changes.items()}
        return SimulatedHead(replace(self.scanner, settings=settings | changed))

    def with_excursion(self, translation_mm: float, rotation_deg: float) -> SimulatedHead:
        """The same head with a drift whose largest translation and rotation along or about any axis are given."""
        walk = random_walk(len(self.table.b_values), np.ones(6), self.scanner.generator(MAIN, "motion"))
        largest = np.abs(walk).reshape(len(walk), 2, 3).max(axis=(0, 2))
        spread = np.array([translation_mm, rotation_deg]) / largest
        names = ("translation_rms_mm", "rotation_rms_deg")
        return self.with_changes({"motion": dict(zip(names, spread.tolist(), strict=True))})

    def noise_sigma(self, head: DiffusionHead, sampler: HeadSampler) -> float:
        """Noise of the protocol: mean white-matter signal at b = 0 over its signal-to-noise ratio."""
        place = self.scanner.resting_place(MAIN)
        b0 = sampler.read_array(head.signal(0, np.zeros(3)).numpy(), place)
        white_matter = sampler.read_array(self.scanner.subject.fractions["wm"], place)
        return self.scanner.noise_sigma(b0, white_matter, self.protocol["snr"])

    def scan(self, table: GradientTable | None = None, reversed_b0: int | None = None) -> SimulatedScan:
        """Measure the diffusion series and the b = 0 series with opposed phase encoding.

        Args:
            table: gradients of the diffusion series; the protocol's if not given.
            reversed_b0: volumes of the opposed series; the protocol's if not given.
        """
        table = self.table if table is None else table
        count = self.protocol["reversed_b0_volumes"] if reversed_b0 is None else reversed_b0
        sampler, head = self.sampler, DiffusionHead(self.scanner.subject, self.protocol["echo_time_s"])
        sigma = self.noise_sigma(head, sampler)
        main = measure(self.scanner, head, sampler, MAIN, table, sigma)
        reverse = measure(self.scanner, head, sampler, REVERSED, b0_table(count), sigma)
        lost = np.zeros((len(main.positions), sampler.grid.shape[2]), dtype=bool)
        lost[tuple(np.array(main.record["dropped_slices"], dtype=int).reshape(-1, 2).T)] = True
        back = np.linalg.inv(main.positions[0])
        motion = np.array([position @ back for position in main.positions])
        return SimulatedScan(main.series, reverse.series, motion, lost, main.positions[0])

    def field_truth(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True off-resonance (Hz) and brain mask on the scan's grid, head at a place, undistorted."""
        sampler = self.sampler
        brain = sum(self.scanner.tissue_maps(sampler, place)[name] for name in BRAIN_TISSUES)
        return sampler.read_array(self.scanner.subject.field_hz, place), brain > 0.5

    def tensor_truth(self, place: np.ndarray) -> dict[str, np.ndarray]:
        """True maps on the scan's grid without noise: ``WM`` fraction, ``mask``, ``FA``, ``MD``, ``tensor``."""
        sampler, head = self.sampler, DiffusionHead(self.scanner.subject, self.protocol["echo_time_s"])
        found = {}
        for image in truth_images(self.scanner, head, sampler, self.table, place):
            if image.entities.get("model", "DTI") == "DTI":
                found[image.entities.get("param") or image.entities.get("label") or image.suffix] = image.data
        return found


def b0_table(count: int) -> GradientTable:
    """A table of volumes without diffusion weighting."""
    return GradientTable(np.zeros(count), np.zeros((count, 3)))
