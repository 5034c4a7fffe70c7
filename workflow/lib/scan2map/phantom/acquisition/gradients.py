"""The order of b-values and directions of a multi-shell diffusion scan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GOLDEN_ANGLE_RAD = np.pi * (3 - np.sqrt(5))
REPULSION_ITERATIONS = 1000


class GradientTable(NamedTuple):
    """b-values (n,) in s/mm² and unit vectors (n, 3), zero where b = 0."""

    b_values: np.ndarray
    b_vectors: np.ndarray

    def rows(self, keep) -> GradientTable:
        """The volumes that a mask or index selects."""
        return GradientTable(self.b_values[keep], self.b_vectors[keep])


def spiral_directions(count: int, turn_rad: float = 0.0) -> np.ndarray:
    """Near-uniform directions on a half sphere, a golden-angle spiral, (count, 3)."""
    index = np.arange(count)
    height = 1 - (index + 0.5) / count
    angle = GOLDEN_ANGLE_RAD * index + turn_rad
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1)


def dispersed_directions(count: int, turn_rad: float = 0.0) -> np.ndarray:
    """Directions of lowest electrostatic energy (with their opposites), spread over the whole sphere.

    Jones, Horsfield, Simmons, Magn Reson Med 42:515 (1999), by dipy's ``disperse_charges`` from a spiral start:
    the same directions on every call. Every other direction is turned to its opposite, so that eddy currents of
    the shell nearly cancel in the mean.

    Args:
        count: number of directions; fewer than six are the spiral itself.
        turn_rad: turn of the start, so that shells differ.
    """
    from dipy.core.sphere import HemiSphere, disperse_charges

    start = spiral_directions(count, turn_rad)
    if count < 6:
        return start
    dispersed, _ = disperse_charges(HemiSphere(xyz=start), REPULSION_ITERATIONS)
    return dispersed.vertices * np.where(np.arange(count) % 2, -1.0, 1.0)[:, None]


def multi_shell_table(shells: list[dict], b0_volumes: int) -> GradientTable:
    """Shells shuffled evenly into each other, with the b = 0 volumes spread over the scan and one at its start.

    Args:
        shells: each with ``b_value_s_per_mm2`` and ``directions``.
        b0_volumes: number of volumes without weighting, at least 1.
    """
    entries = []
    for number, shell in enumerate(shells):
        count = shell["directions"]
        for index, vector in enumerate(dispersed_directions(count, turn_rad=float(number))):
            entries.append(((index + 0.5) / count, float(shell["b_value_s_per_mm2"]), vector))
    for index in range(b0_volumes):
        entries.append((index / b0_volumes, 0.0, np.zeros(3)))
    entries.sort(key=lambda entry: (entry[0], entry[1]))
    return GradientTable(np.array([entry[1] for entry in entries]), np.array([entry[2] for entry in entries]))
