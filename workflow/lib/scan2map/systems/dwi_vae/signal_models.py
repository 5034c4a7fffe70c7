"""Signal models as maps from free numbers to physical parameters to signals.

Every model fits S0 beside its tissue parameters. Diffusivities in mm²/s, b-values in s/mm².
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch

from scan2map.errors import SettingError
from scan2map.physics.diffusion import ball_stick_signal, free_water_kurtosis, mean_signal_kurtosis
from scan2map.systems.dwi_vae.voxels import Voxels

# The edge of a bounded parameter is reached at infinity: starting values keep this share of the range away from it.
EDGE_SHARE = 0.01


class Parameter(NamedTuple):
    """A scalar parameter.

    Attributes:
        name: in tables and file names.
        low, high: open interval that it is fitted in.
        unit: of its maps.
        scale: its size in tissue; errors are told in units of it (µm²/ms for a diffusivity).
        starts: values that a fit starts from.
    """

    name: str
    low: float
    high: float
    unit: str
    scale: float
    starts: tuple[float, ...]


class Tissue(NamedTuple):
    """Parameters of n voxels: scalars (n, p) in the model's order, and unit fibre directions (n, 3)."""

    values: torch.Tensor
    direction: torch.Tensor


S0 = Parameter("S0", 0.5, 1.5, "1", 1.0, (1.0,))


def _diffusivity(name: str, *starts: float) -> Parameter:
    return Parameter(name, 5e-5, 4e-3, "mm^2/s", 1e-3, starts)


FRACTION_STARTS = (0.1, 0.35, 0.65)
D = _diffusivity("D", 0.5e-3, 1e-3, 1.6e-3, 2.9e-3)
# A little below zero, so that water without kurtosis lies inside the interval.
K = Parameter("K", -0.5, 3.0, "1", 1.0, (0.1, 0.7, 1.3))
WATER = Parameter("W", 0.0, 1.0, "1", 1.0, (0.05, 0.5))
STICK = Parameter("F", 0.0, 1.0, "1", 1.0, FRACTION_STARTS)


@dataclass(frozen=True)
class SignalModel:
    """A signal model.

    Attributes:
        name: in settings.
        parameters: scalars, S0 first.
        directional: whether it has a fibre direction; the others describe direction averages.
    """

    name: str
    parameters: tuple[Parameter, ...]
    directional: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scalars."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def free(self) -> int:
        """How many unbounded numbers describe a voxel: its scalars, and two for a direction."""
        return len(self.parameters) + 2 * self.directional

    @property
    def tissue_numbers(self) -> tuple[int, int]:
        """First and last + 1 of the unbounded numbers that tell of tissue: not S0, not the turns of the direction."""
        return 1, len(self.parameters)

    def _limits(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return like.new_tensor([p.low for p in self.parameters]), like.new_tensor([p.high for p in self.parameters])

    def tissue(self, free: torch.Tensor, frames: torch.Tensor) -> Tissue:
        """Parameters of unbounded numbers (n, free): a sigmoid into each interval, a tangent plane about the guess."""
        low, high = self._limits(free)
        count = len(self.parameters)
        values = low + (high - low) * free[:, :count].sigmoid()
        return Tissue(values, self._direction(free[:, count:], frames))

    def _direction(self, across: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        if not self.directional:
            return frames[:, :, 0]
        turned = frames[:, :, 0] + frames[:, :, 1] * across[:, :1] + frames[:, :, 2] * across[:, 1:]
        return torch.nn.functional.normalize(turned, dim=-1)

    def unbounded(self, values: torch.Tensor) -> torch.Tensor:
        """Unbounded numbers (n, free) of scalars (n, p); the direction is the first guess. Edges are kept away from."""
        low, high = self._limits(values)
        share = ((values - low) / (high - low)).clamp(EDGE_SHARE, 1 - EDGE_SHARE)
        return torch.nn.functional.pad(share.logit(), (0, 2 * self.directional))

    def starts(self) -> list[tuple[float, ...]]:
        """Scalars that a fit may start from: every combination of the parameters' starting values."""
        return list(product(*(parameter.starts for parameter in self.parameters)))

    def signal(self, tissue: Tissue, voxels: Voxels) -> torch.Tensor:
        """Noise-free signals (n, m) of the measurements."""
        b_values = voxels.acquisition.b_values
        return FORMULAS[self.name](tissue, b_values, voxels.acquisition.directions)


def _kurtosis(tissue: Tissue, b_values, directions):
    return mean_signal_kurtosis(*tissue.values.unbind(-1), b_values)


def _water_kurtosis(tissue: Tissue, b_values, directions):
    return free_water_kurtosis(*tissue.values.unbind(-1), b_values)


def _ball_stick(tissue: Tissue, b_values, directions):
    return ball_stick_signal(*tissue.values.unbind(-1), tissue.direction, b_values, directions)


def _tied_ball_stick(tissue: Tissue, b_values, directions):
    s0, fraction, diffusivity = tissue.values.unbind(-1)
    return ball_stick_signal(s0, fraction, diffusivity, diffusivity, tissue.direction, b_values, directions)


FORMULAS = {
    "msdki": _kurtosis,
    "msdki_water": _water_kurtosis,
    "ball_stick": _ball_stick,
    "ball_stick_tied": _tied_ball_stick,
}
MODELS = {
    "msdki": SignalModel("msdki", (S0, D, K), False),
    "msdki_water": SignalModel("msdki_water", (S0, D, K, WATER), False),
    "ball_stick": SignalModel(
        "ball_stick", (S0, STICK, _diffusivity("DBALL", 0.7e-3, 1.2e-3, 2.8e-3), _diffusivity("DSTICK", 1.7e-3)), True
    ),
    "ball_stick_tied": SignalModel(
        "ball_stick_tied", (S0, STICK, _diffusivity("D", 0.7e-3, 1.2e-3, 2.8e-3)), True
    ),
}  # fmt: skip


def signal_model(name: str) -> SignalModel:
    """The model of a name.

    Raises:
        SettingError: there is none.
    """
    if name not in MODELS:
        raise SettingError("There is no such signal model", found=name, allowed=", ".join(MODELS))
    return MODELS[name]
