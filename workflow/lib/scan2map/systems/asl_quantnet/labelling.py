"""Label parameters of a batch and the difference signals that they predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from scan2map.physics import asl

# Tissue T1 at 3 T for the general kinetic model, s (the digital subject's values).
TISSUE_T1_S = {"gm": 1.331, "wm": 0.832, "csf": 4.0}


class Delays(NamedTuple):
    """Delays between labelling and readout, s: the channels of the network, PCASL first."""

    pcasl_s: tuple[float, ...]
    vsasl_s: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Number of difference volumes."""
        return len(self.pcasl_s) + len(self.vsasl_s)


class Labelling(NamedTuple):
    """Label parameters, one value per sample, tensors (batch,).

    Attributes:
        pcasl_efficiency, vsasl_efficiency: labelling efficiency with the loss by background suppression.
        blood_t1_s: T1 of arterial blood, s.
        label_duration_s: PCASL label duration, s.
        delay_offset_s: added to all delays, s: later slices of a 2-D readout are read later.
    """

    pcasl_efficiency: torch.Tensor
    vsasl_efficiency: torch.Tensor
    blood_t1_s: torch.Tensor
    label_duration_s: torch.Tensor
    delay_offset_s: torch.Tensor

    def maps(self) -> Labelling:
        """The parameters as (batch, 1, 1, 1), ready to meet images."""
        return Labelling(*(value[:, None, None, None] for value in self))

    def select(self, index) -> Labelling:
        """The parameters of some samples."""
        return Labelling(*(value[index] for value in self))


def nominal(values: Mapping[str, float], batch: int = 1, device="cpu") -> Labelling:
    """The same label parameters for every sample, by the names of :class:`Labelling`; no delay offset if not named."""
    numbers = {"delay_offset_s": 0.0, **values}
    return Labelling(*(torch.full((batch,), float(numbers[name]), device=device) for name in Labelling._fields))


def delay_tensor(delays_s, like: torch.Tensor) -> torch.Tensor:
    """Delays as (1, channels, 1, 1)."""
    return torch.tensor(delays_s, dtype=like.dtype, device=like.device)[None, :, None, None]


def difference_signals(
    cbf: torch.Tensor, att_s: torch.Tensor, labelling: Labelling, delays: Delays, *, convention: str = "blood_t1",
    tissue_t1_s: float = TISSUE_T1_S["gm"],
) -> torch.Tensor:  # fmt: skip
    """Difference signals relative to M0 of every delay.

    Args:
        cbf: perfusion (batch, 1, y, x), ml/100g/min.
        att_s: arterial transit time (batch, 1, y, x), s.
        labelling: label parameters of the samples.
        delays: PCASL and VSASL delays.
        convention: ``blood_t1`` (one compartment, consensus) or ``tissue_t1`` (general kinetic model) for PCASL.
        tissue_t1_s: T1 of tissue for the general kinetic model, s.

    Returns:
        (batch, channels, y, x), PCASL first.
    """
    maps = labelling.maps()
    pcasl_delays, vsasl_delays = (delay_tensor(values, cbf) + maps.delay_offset_s for values in delays)
    settings = {"efficiency": maps.pcasl_efficiency, "blood_t1_s": maps.blood_t1_s}
    if convention == "tissue_t1":
        pcasl = asl.pcasl_difference_kinetic(cbf, att_s, pcasl_delays, maps.label_duration_s, tissue_t1_s, **settings)
    else:
        pcasl = asl.pcasl_difference(cbf, att_s, pcasl_delays, maps.label_duration_s, **settings)
    vsasl = asl.vsasl_difference(cbf, att_s, vsasl_delays, efficiency=maps.vsasl_efficiency, blood_t1_s=maps.blood_t1_s)
    return torch.cat([pcasl, vsasl], dim=1)
