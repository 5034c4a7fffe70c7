"""PCASL labelling of a batch, and the unit in which the networks count difference signals.

A network sees c · ΔM / S0 with S0 the median M0 of the brain and c the factor of the consensus formula over
60 ml/100g/min: a voxel with M0 = S0 and that perfusion is 1, whatever the label duration, the delay, the labelling
efficiency and the gain of the scanner are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from scan2map.physics.asl import pcasl_difference

UNIT_CBF = 60.0  # ml/100g/min


class Labelling(NamedTuple):
    """Label parameters, s.

    Attributes:
        delays_s: post-labelling delay of each channel (batch, channels).
        duration_s: label duration (batch,).
    """

    delays_s: torch.Tensor
    duration_s: torch.Tensor

    def maps(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Delays (batch, channels, 1, 1) and durations (batch, 1, 1, 1), ready to meet images."""
        return self.delays_s[:, :, None, None], self.duration_s[:, None, None, None]

    def to(self, device) -> Labelling:
        """The same on a device."""
        return Labelling(*(value.to(device) for value in self))


def unit_signal(labelling: Labelling) -> torch.Tensor:
    """ΔM/M0 of 60 ml/100g/min after all label has arrived, (batch, channels, 1, 1)."""
    delays, duration = labelling.maps()
    return pcasl_difference(torch.full_like(delays, UNIT_CBF), torch.zeros_like(delays), delays, duration)


def relative_signal(cbf: torch.Tensor, att_s: torch.Tensor, labelling: Labelling) -> torch.Tensor:
    """ΔM/M0 in units of :func:`unit_signal`: CBF / 60 where the label has arrived in full.

    Args:
        cbf: perfusion (batch, 1, y, x), ml/100g/min.
        att_s: arterial transit time (batch, 1, y, x), s.
        labelling: of the samples.

    Returns:
        (batch, channels, y, x).
    """
    delays, duration = labelling.maps()
    return pcasl_difference(cbf, att_s, delays, duration) / unit_signal(labelling)


def consensus_map(signal: torch.Tensor, relative_m0: torch.Tensor) -> torch.Tensor:
    """Perfusion by the consensus formula from signals in network units, ml/100g/min (Ulas et al. 2018, eq. 1).

    Args:
        signal: difference signals (batch, channels, y, x).
        relative_m0: M0 over its median in the brain (batch, 1, y, x), above 0.
    """
    return UNIT_CBF * signal / relative_m0
