"""From difference signals and label parameters to perfusion and transit time: the networks with their inputs.

All estimators share one interface, so that the validation protocol does not know which design it scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from scan2map.models.local_perfusion import LocalPerfusionNet, average_neighbours
from scan2map.models.unet_perfusion import UNetPerfusion
from scan2map.systems.asl_quantnet.features import (
    LABEL_CENTRE,
    LABEL_RANGE,
    WIDTHS,
    feature_count,
    perfusion_at,
    physics_features,
)
from scan2map.systems.asl_quantnet.labelling import Delays, Labelling, nominal

INPUT_GAIN = 1000.0  # brings ΔM/M0 far above the ε of group normalisation
TYPICAL_CBF, ATT_OFFSET_S, ATT_SPAN_S = 40.0, 0.2, 4.2
TINY = 1e-6


class Estimate(NamedTuple):
    """Perfusion and transit time with their spread, tensors (batch, 1, y, x).

    Attributes:
        cbf: perfusion, ml/100g/min.
        att_s: arterial transit time, s.
        log_sd_cbf: logarithm of the standard deviation of perfusion in units of ``unit``.
        log_sd_att: logarithm of the standard deviation of the transit time, s.
        unit: perfusion in which errors are counted, ml/100g/min.
    """

    cbf: torch.Tensor
    att_s: torch.Tensor
    log_sd_cbf: torch.Tensor
    log_sd_att: torch.Tensor
    unit: torch.Tensor


class Estimator(nn.Module):
    """What all designs share: delays, and whether they are told the label parameters.

    Args:
        acquisition: the block ``acquisition``: delays and nominal label parameters.
        labels_given: False hides the label parameters: the nominal ones take their place.
    """

    def __init__(self, acquisition: Mapping[str, Any], labels_given: bool):
        super().__init__()
        self.delays = Delays(tuple(acquisition["pcasl_delays_s"]), tuple(acquisition["vsasl_delays_s"]))
        self.nominal = dict(acquisition["labelling"])
        self.labels_given = labels_given

    def seen(self, labelling: Labelling) -> Labelling:
        """The label parameters that the network is told."""
        if self.labels_given:
            return labelling
        usual = nominal(self.nominal, len(labelling.blood_t1_s), labelling.blood_t1_s.device)
        return usual._replace(delay_offset_s=labelling.delay_offset_s)


class LocalEstimator(Estimator):
    """Equivariant to the amplitude by construction: scale-free features say which signals to average.

    Features and the kinetic model are computed in full precision whatever that of the training.
    """

    def __init__(self, acquisition: Mapping[str, Any], network: Mapping[str, Any], convention: str):
        super().__init__(acquisition, network["labels_given"])
        self.convention = convention
        local = network["local"]
        self.net = LocalPerfusionNet(
            feature_count(self.delays), len(WIDTHS), local["channels"], local["blocks"], local["averaging_voxels"]
        )

    def forward(self, difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling) -> Estimate:
        """Estimate from ΔM/M0 (batch, channels, y, x), the brain mask (batch, 1, y, x) and label parameters."""
        told = self.seen(labelling)
        with torch.no_grad(), torch.autocast(difference.device.type, enabled=False):
            features = physics_features(difference, mask, told, self.delays, self.convention)
        found = self.net(features.maps, features.att_s, features.noise, mask)
        with torch.autocast(difference.device.type, enabled=False):
            mean = average_neighbours(features.signals, found.weights)
            cbf = perfusion_at(mean, found.att_s, told, self.delays, self.convention)
        cbf = (cbf + found.change_cbf * features.scale) * mask
        return Estimate(cbf, found.att_s * mask, found.log_sd_cbf, found.log_sd_att, features.scale)


def amplitude_statistics(difference: torch.Tensor, mask: torch.Tensor, delays: Delays) -> torch.Tensor:
    """Logarithms of mean size, spread and maximum of PCASL and VSASL over the slice, and their ratio: (batch, 7)."""
    inside, count = mask.sum((1, 2, 3)).clamp_min(1), []
    for part in difference.split([len(delays.pcasl_s), len(delays.vsasl_s)], dim=1):
        total = inside * part.shape[1]
        mean = (part * mask).sum((1, 2, 3)) / total
        spread = (((part - mean[:, None, None, None]) * mask).square().sum((1, 2, 3)) / total).sqrt()
        count += [mean.abs(), spread, (part * mask).amax((1, 2, 3)).abs()]
    logs = torch.stack(count, 1).mul(INPUT_GAIN).clamp_min(TINY).log()
    return torch.cat([logs, logs[:, :1] - logs[:, 3:4]], dim=1)


class UNetEstimator(Estimator):
    """Group-normalised U-Net; with ``film``, the document's amplitude-aware design (global statistics, modulation)."""

    def __init__(self, acquisition: Mapping[str, Any], network: Mapping[str, Any], film: bool):
        super().__init__(acquisition, network["labels_given"])
        self.film = film
        conditions = (7 + len(LABEL_CENTRE)) if film else 0
        self.net = UNetPerfusion(self.delays.channels, network["unet"]["widths"], conditions)

    def _condition(self, difference, mask, labelling: Labelling) -> torch.Tensor | None:
        if not self.film:
            return None
        labels = [(v - c) / r for v, c, r in zip(self.seen(labelling), LABEL_CENTRE, LABEL_RANGE, strict=True)]
        return torch.cat([amplitude_statistics(difference, mask, self.delays), torch.stack(labels, 1)], dim=1)

    def forward(self, difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling) -> Estimate:
        """As :meth:`LocalEstimator.forward`."""
        condition = self._condition(difference, mask, labelling)
        cbf, att, log_sd_cbf, log_sd_att = self.net(difference * mask * INPUT_GAIN, condition).split(1, dim=1)
        att_s = ATT_OFFSET_S + ATT_SPAN_S * att.sigmoid()
        unit = torch.full_like(mask, TYPICAL_CBF)
        return Estimate(cbf * unit * mask, att_s * mask, log_sd_cbf, log_sd_att, unit)


def build_estimator(settings: Mapping[str, Any]) -> Estimator:
    """The estimator of the settings: ``network.design`` is ``local``, ``film`` or ``groupnorm``."""
    network, acquisition = settings["network"], settings["acquisition"]
    if network["design"] == "local":
        return LocalEstimator(acquisition, network, settings["simulation"]["convention"])
    return UNetEstimator(acquisition, network, film=network["design"] == "film")
