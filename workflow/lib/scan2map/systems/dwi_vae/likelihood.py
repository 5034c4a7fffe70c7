"""How probable measured signals are, given noise-free ones."""

from __future__ import annotations

from typing import NamedTuple

import torch

from scan2map.errors import SettingError
from scan2map.physics.rician import expected_signal, rician_log_likelihood, rician_moments
from scan2map.systems.dwi_vae.voxels import Voxels

NOISES = ("rician", "gaussian")


class Likelihood(NamedTuple):
    """Noise of the measurements.

    Single volumes have Rician noise. Means over the directions of a shell have nearly Gaussian noise about the Rician
    mean (the noise floor included), with its variance divided by their number; the variance is taken at the measured
    value. ``gaussian`` leaves the floor out.

    Attributes:
        voxels: the measurements.
        noise: ``rician`` or ``gaussian``.
    """

    voxels: Voxels
    noise: str

    @property
    def averaged(self) -> bool:
        """Whether direction averages are told apart from single volumes by the acquisition."""
        return bool((self.voxels.acquisition.counts > 1).any())

    @property
    def weights(self) -> torch.Tensor:
        """Inverse variance of every measurement (n, m)."""
        voxels = self.voxels
        variance = voxels.sigma**2 * torch.ones_like(voxels.signals)
        if self.noise == "rician" and self.averaged:
            variance = rician_moments(voxels.signals, voxels.sigma).variance
        return voxels.acquisition.counts / variance

    def expected(self, signal: torch.Tensor) -> torch.Tensor:
        """What is measured in the mean where the noise is told by its weights; the signal itself otherwise."""
        if self.noise == "rician" and self.averaged:
            return rician_moments(signal, self.voxels.sigma).mean
        return signal

    def log_probability(self, signal: torch.Tensor) -> torch.Tensor:
        """ln p of all measurements of each voxel (n,), given noise-free signals (n, m)."""
        if self.noise == "rician" and not self.averaged:
            measured = self.voxels.signals.clamp_min(1e-6)
            return rician_log_likelihood(measured, signal, self.voxels.sigma).sum(-1)
        weights = self.weights
        squares = weights * (self.voxels.signals - self.expected(signal)) ** 2
        return 0.5 * ((weights / (2 * torch.pi)).log() - squares).sum(-1)

    def residual(self, signal: torch.Tensor) -> torch.Tensor:
        """Residual (n, m) whose product with the weights is the derivative of ln p by the expected measurement."""
        if self.noise == "rician" and not self.averaged:
            return expected_signal(self.voxels.signals, signal, self.voxels.sigma) - signal
        return self.voxels.signals - self.expected(signal)


def likelihood(voxels: Voxels, noise: str) -> Likelihood:
    """The likelihood of voxels.

    Raises:
        SettingError: no such noise.
    """
    if noise not in NOISES:
        raise SettingError("There is no such noise model", found=noise, allowed=", ".join(NOISES))
    return Likelihood(voxels, noise)
