"""Physics features: a local amplitude, least-squares estimates on a grid of transit times, and the noise they leave.

Everything is either proportional to the signal (``Features.scale``) or free of its scale (``Features.maps``), and
depends on a small neighbourhood only. A network on ``maps`` whose perfusion is multiplied by ``scale`` is therefore
equivariant to the amplitude by construction and does not see the tissue elsewhere in the image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from scan2map.physics.asl import PCASL_EFFICIENCY, VSASL_EFFICIENCY
from scan2map.systems.asl_quantnet.labelling import Delays, Labelling, difference_signals

ATT_GRID_S = (0.3, 4.3, 41)  # first, last, nodes
WIDTHS = (1, 3, 5)  # voxels over which signals are averaged before a fit
AMPLITUDE_WIDTH, NOISE_WIDTH = 5, 9
REFERENCE_ATT_S = 1.4
# Centre and half range of the label parameters: inputs of about unit size.
LABEL_CENTRE = Labelling(0.70, 0.45, 1.80, 1.80, 0.50)
LABEL_RANGE = Labelling(0.25, 0.20, 0.30, 0.18, 0.50)
NOISE_LIMITS = (1e-3, 2.0)
TINY = 1e-12


class Features(NamedTuple):
    """Inputs of the network.

    Attributes:
        maps: features without scale (batch, features, y, x).
        signals: at nominal labelling efficiency (batch, channels, y, x), 0 outside the mask.
        scale: local amplitude as perfusion (batch, 1, y, x), ml/100g/min.
        att_s: least-squares transit time at each averaging width (batch, widths, y, x), s.
        noise: local noise over local amplitude (batch, 1, y, x), from the residuals of the narrowest fit.
    """

    maps: torch.Tensor
    signals: torch.Tensor
    scale: torch.Tensor
    att_s: torch.Tensor
    noise: torch.Tensor


def feature_count(delays: Delays) -> int:
    """Number of features of ``Features.maps``."""
    return delays.channels + 2 * len(WIDTHS) + 2 + len(LABEL_CENTRE)


def box_mean(values: torch.Tensor, mask: torch.Tensor, width: int) -> torch.Tensor:
    """Mean over the masked voxels of a square neighbourhood, 0 outside the mask."""
    if width == 1:
        return values * mask
    mean = lambda image: functional.avg_pool2d(image, width, 1, width // 2)  # noqa: E731
    return mask * mean(values * mask) / mean(mask).clamp_min(TINY)


def unit_efficiency(difference: torch.Tensor, labelling: Labelling, delays: Delays) -> torch.Tensor:
    """Signals as nominal labelling efficiencies would have given them: perfusion no longer depends on α."""
    maps = labelling.maps()
    pcasl, vsasl = difference.split([len(delays.pcasl_s), len(delays.vsasl_s)], dim=1)
    return torch.cat(
        [pcasl * (PCASL_EFFICIENCY / maps.pcasl_efficiency), vsasl * (VSASL_EFFICIENCY / maps.vsasl_efficiency)], dim=1
    )


def _nominal_efficiency(labelling: Labelling) -> Labelling:
    return labelling._replace(
        pcasl_efficiency=torch.full_like(labelling.pcasl_efficiency, PCASL_EFFICIENCY),
        vsasl_efficiency=torch.full_like(labelling.vsasl_efficiency, VSASL_EFFICIENCY),
    )


def unit_signals(att_s: torch.Tensor, labelling: Labelling, delays: Delays, convention: str) -> torch.Tensor:
    """Signals of 1 ml/100g/min at the given transit times (nodes,), (batch, channels, nodes)."""
    att = att_s[None, None, None].expand(len(labelling.blood_t1_s), 1, 1, -1)
    return difference_signals(torch.ones_like(att), att, _nominal_efficiency(labelling), delays, convention=convention)[
        :, :, 0
    ]


def _parabola_vertex(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Position of the maximum between nodes from three neighbours, as an offset of −½ to ½ node."""
    inner = index.clamp(1, values.shape[1] - 2)
    left, middle, right = (values.gather(1, inner + shift) for shift in (-1, 0, 1))
    curvature = (left - 2 * middle + right).clamp_max(-TINY)
    return (inner - index) + (0.5 * (left - right) / curvature).clamp(-0.5, 0.5) * (inner == index)


def grid_fit(signals: torch.Tensor, labelling: Labelling, delays: Delays, convention: str):
    """Least squares with perfusion ≥ 0 and the transit time on a grid, refined by a parabola through the best nodes.

    For a given transit time the perfusion is linear, f = ⟨b, d⟩/⟨b, b⟩, and explains ⟨b, d⟩²/⟨b, b⟩ of the signal's
    energy; the best node explains most (variable projection, Golub and Pereyra, SIAM J Numer Anal 10:413, 1973).

    Args:
        signals: at nominal efficiency (batch, channels, y, x).
        labelling, delays, convention: as for :func:`labelling.difference_signals`.

    Returns:
        Perfusion (ml/100g/min), transit time (s) and energy of the residual, each (batch, 1, y, x).
    """
    first, last, nodes = ATT_GRID_S
    grid = torch.linspace(first, last, nodes, device=signals.device)
    basis = unit_signals(grid, labelling, delays, convention)
    energy = basis.square().sum(1)
    projection = torch.einsum("bck,bcyx->bkyx", basis, signals).clamp_min(0)
    explained = projection.square() / energy[:, :, None, None]
    best, index = explained.max(1, keepdim=True)
    cbf = projection.gather(1, index) / energy[:, :, None, None].expand_as(projection).gather(1, index)
    att_s = first + (index + _parabola_vertex(explained, index)) * (last - first) / (nodes - 1)
    return cbf, att_s, (signals.square().sum(1, keepdim=True) - best).clamp_min(0)


def perfusion_at(
    signals: torch.Tensor, att_s: torch.Tensor, labelling: Labelling, delays: Delays, convention: str
) -> torch.Tensor:
    """Least-squares perfusion at known transit times, f = ⟨b, d⟩/⟨b, b⟩: linear in the signals.

    Args:
        signals: at nominal efficiency (batch, channels, y, x).
        att_s: transit times (batch, 1, y, x), s; taken as known: no gradient flows through them.
        labelling, delays, convention: as for :func:`labelling.difference_signals`.

    Returns:
        Perfusion (batch, 1, y, x), ml/100g/min; not restricted to positive values.
    """
    known = att_s.detach().clamp(*ATT_GRID_S[:2])
    basis = difference_signals(
        torch.ones_like(known), known, _nominal_efficiency(labelling), delays, convention=convention
    )
    return (basis * signals).sum(1, keepdim=True) / basis.square().sum(1, keepdim=True).clamp_min(TINY)


def _label_maps(labelling: Labelling, like: torch.Tensor) -> torch.Tensor:
    values = [(v - c) / r for v, c, r in zip(labelling, LABEL_CENTRE, LABEL_RANGE, strict=True)]
    return torch.stack(values, 1)[:, :, None, None].expand(-1, -1, *like.shape[-2:])


def physics_features(
    difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling, delays: Delays, convention: str = "blood_t1"
) -> Features:
    """Features of measured difference signals.

    Args:
        difference: ΔM/M0 (batch, channels, y, x).
        mask: brain (batch, 1, y, x).
        labelling: label parameters (batch,).
        delays: PCASL and VSASL delays.
        convention: kinetic model of the fits.
    """
    signals = unit_efficiency(difference, labelling, delays) * mask
    amplitude = box_mean(signals.square().mean(1, keepdim=True), mask, AMPLITUDE_WIDTH).sqrt().clamp_min(TINY)
    reference = unit_signals(torch.tensor([REFERENCE_ATT_S], device=signals.device), labelling, delays, convention)
    scale = amplitude / reference.square().mean(1, keepdim=True).sqrt()[..., None]
    # Fits of signals in units of the local amplitude: no threshold inside them can break the scaling.
    fits = [grid_fit(box_mean(signals, mask, width) / amplitude, labelling, delays, convention) for width in WIDTHS]
    residual = fits[0][2] * amplitude.square() / (delays.channels - 2)
    noise = (box_mean(residual, mask, NOISE_WIDTH).sqrt() / amplitude).clamp(*NOISE_LIMITS)
    cbf, att_s = torch.cat([fit[0] for fit in fits], 1) * amplitude, torch.cat([fit[1] for fit in fits], 1)
    maps = torch.cat(
        [
            signals / amplitude,
            cbf / scale,
            att_s - REFERENCE_ATT_S,
            noise.log() + 1.5,
            mask,
            _label_maps(labelling, mask),
        ],
        dim=1,
    )
    return Features(maps * mask, signals, scale, att_s, noise)
