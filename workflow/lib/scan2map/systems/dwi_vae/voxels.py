"""Voxels to fit: signals relative to b = 0, their noise, and the frame in which a fibre direction is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

# Voxels whose b = 0 signal is below this many noise standard deviations are air.
LOWEST_SNR = 1.0


class Acquisition(NamedTuple):
    """What was measured.

    Attributes:
        b_values: (m,) s/mm².
        directions: (m, 3) unit vectors in world axes; zero rows for b = 0 and for direction averages.
        counts: (m,) how many volumes each measurement is the mean of.
    """

    b_values: torch.Tensor
    directions: torch.Tensor
    counts: torch.Tensor

    @property
    def shells(self) -> torch.Tensor:
        """Distinct b-values in rising order, b = 0 included."""
        return self.b_values.unique()

    def to(self, *arguments) -> Acquisition:
        """The same on another device or in another precision."""
        return Acquisition(*(part.to(*arguments) for part in self))


@dataclass(frozen=True)
class Voxels:
    """Signals of n voxels.

    Attributes:
        signals: (n, m) relative to the voxel's mean b = 0 signal.
        sigma: (n, 1) standard deviation of the noise of one channel and volume, on the same scale.
        frames: (n, 3, 3) columns: a first guess of the fibre direction, and two directions across it.
        acquisition: the m measurements.
    """

    signals: torch.Tensor
    sigma: torch.Tensor
    frames: torch.Tensor
    acquisition: Acquisition

    def __len__(self) -> int:
        return self.signals.shape[0]

    def take(self, index) -> Voxels:
        """Some of the voxels."""
        return Voxels(self.signals[index], self.sigma[index], self.frames[index], self.acquisition)


def acquisition_of(shells, directions) -> Acquisition:
    """Every volume by itself.

    Args:
        shells: (m,) b-value of each volume's shell, 0 for b = 0.
        directions: (m, 3) world axes.
    """
    shells = torch.as_tensor(np.asarray(shells), dtype=torch.float64)
    directions = torch.as_tensor(np.asarray(directions), dtype=torch.float64) * (shells > 0)[:, None]
    return Acquisition(shells, directions, torch.ones_like(shells))


def relative_voxels(signals, sigma, acquisition: Acquisition, guess=None) -> Voxels:
    """Voxels from measured volumes.

    Args:
        signals: (n, m), scanner units.
        sigma: standard deviation of the noise of one channel, scanner units: a number or (n,).
        acquisition: the volumes.
        guess: (n, 3) first guess of the fibre direction; the z axis if not given.
    """
    signals = torch.as_tensor(signals, dtype=torch.float64)
    b0 = signals[:, acquisition.b_values == 0].mean(1, keepdim=True)
    sigma = torch.as_tensor(sigma, dtype=torch.float64).expand(len(signals))[:, None]
    scale = torch.maximum(b0, LOWEST_SNR * sigma)
    if guess is None:
        guess = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(signals), 3)
    return Voxels(signals / scale, sigma / scale, frames_about(torch.as_tensor(guess)), acquisition)


def frames_about(directions: torch.Tensor) -> torch.Tensor:
    """Rotations (n, 3, 3) whose first column is the given unit vector (n, 3)."""
    helper = torch.eye(3, dtype=directions.dtype, device=directions.device)[directions.abs().argmin(-1)]
    second = torch.nn.functional.normalize(torch.linalg.cross(directions, helper), dim=-1)
    return torch.stack([directions, second, torch.linalg.cross(directions, second)], -1)


def average_shells(voxels: Voxels) -> Voxels:
    """Means over the directions of each shell, b = 0 first."""
    old = voxels.acquisition
    members = (old.b_values[None] == old.shells[:, None]).to(voxels.signals)
    counts = members @ old.counts
    mean = (voxels.signals * old.counts) @ members.T / counts
    averaged = Acquisition(old.shells, voxels.signals.new_zeros(len(counts), 3), counts)
    return replace(voxels, signals=mean, acquisition=averaged)


def below(voxels: Voxels, b_max: float) -> Voxels:
    """The measurements up to a b-value, s/mm²."""
    keep = voxels.acquisition.b_values <= b_max
    kept = Acquisition(*(part[keep] for part in voxels.acquisition))
    return replace(voxels, signals=voxels.signals[:, keep], acquisition=kept)


def principal_directions(signals, acquisition: Acquisition) -> torch.Tensor:
    """Main direction (n, 3) of the tensor fitted by weighted least squares: the first guess of a fibre.

    Args:
        signals: (n, m) volumes, positive.
        acquisition: each volume by itself.
    """
    from scan2map.physics.diffusion import log_linear_design, principal_direction
    from scan2map.preprocess.dwi.tensor import fit_wls

    design = log_linear_design(acquisition.b_values.numpy(), acquisition.directions.numpy())
    tensors = fit_wls(np.maximum(np.asarray(signals), 1e-6), design)[:, 1:]
    return torch.from_numpy(np.ascontiguousarray(principal_direction(tensors)))
