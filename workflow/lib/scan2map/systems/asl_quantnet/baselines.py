"""What the network is compared with: least squares, spatially regularised least squares, and the Cramér-Rao bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from scan2map.physics.asl_kinetics import CONSENSUS, GENERAL_KINETIC, LabelDesign
from scan2map.preprocess.asl.fit import FitOptions, fit_kinetic
from scan2map.systems.asl_quantnet.labelling import Delays, Labelling, difference_signals

FIT_MODELS = {"blood_t1": CONSENSUS, "tissue_t1": GENERAL_KINETIC}
# Prior of the regularised fit: differences between neighbours beyond these are penalised linearly, not squared.
NEIGHBOUR_CBF, NEIGHBOUR_ATT_S = 15.0, 0.15
HUBER_KNEE = 1.0
ITERATIONS, STEP = 150, 0.05
CBF_LIMIT, ATT_LIMITS_S = 250.0, (0.0, 4.0)


class Maps(NamedTuple):
    """Perfusion (ml/100g/min) and transit time (s), each (batch, 1, y, x), 0 outside the mask."""

    cbf: torch.Tensor
    att_s: torch.Tensor


def label_design(labelling: Labelling, sample: int, delays: Delays) -> LabelDesign:
    """The design of one sample for ``preprocess.asl.fit``."""
    pcasl, vsasl, blood_t1_s, duration_s, offset_s = (float(value[sample]) for value in labelling)
    counts = (len(delays.pcasl_s), len(delays.vsasl_s))
    kinds = ("PCASL",) * counts[0] + ("VSASL",) * counts[1]
    return LabelDesign(
        kinds, np.array([*delays.pcasl_s, *delays.vsasl_s]) + offset_s, np.full(len(kinds), duration_s),
        np.repeat([pcasl, vsasl], counts), blood_t1_s,
    )  # fmt: skip


def _same_for_all(labelling: Labelling) -> bool:
    return all(bool((value == value[0]).all()) for value in labelling)


def _fitted(difference, mask, design: LabelDesign, convention: str) -> Maps:
    inside = mask[:, 0] > 0
    found = fit_kinetic(difference.movedim(1, -1)[inside], design, FitOptions(model=FIT_MODELS[convention]))
    maps = []
    for values in (found.cbf, found.att_s):
        image = torch.zeros_like(mask)
        image[:, 0][inside] = values.to(image.dtype)
        maps.append(image)
    return Maps(*maps)


def least_squares(
    difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling, delays: Delays, convention: str = "blood_t1"
) -> Maps:
    """Bounded least squares of every voxel by itself (``preprocess.asl.fit``)."""
    if _same_for_all(labelling):
        return _fitted(difference, mask, label_design(labelling, 0, delays), convention)
    parts = [
        _fitted(difference[i : i + 1], mask[i : i + 1], label_design(labelling, i, delays), convention)
        for i in range(len(difference))
    ]
    return Maps(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _roughness(image: torch.Tensor, mask: torch.Tensor, typical: float) -> torch.Tensor:
    """Huber penalty of the differences between neighbours inside the mask."""
    total = image.new_zeros(())
    for axis in (2, 3):
        size = image.shape[axis] - 1
        both = mask.narrow(axis, 0, size) * mask.narrow(axis, 1, size)
        step = torch.diff(image, dim=axis) / typical
        total = (
            total
            + (
                torch.nn.functional.huber_loss(step, torch.zeros_like(step), reduction="none", delta=HUBER_KNEE) * both
            ).sum()
        )
    return total


def regularised_least_squares(
    difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling, delays: Delays, sigma: torch.Tensor,
    convention: str = "blood_t1",
) -> Maps:  # fmt: skip
    """Maximum a posteriori maps: Gaussian likelihood, and neighbours that are alike but for edges (Huber prior).

    Starts from the voxel-wise fit and descends by Adam; the same idea as the spatial prior of Groves et al.,
    NeuroImage 45:795 (2009), with fixed hyper-parameters.

    Args:
        difference, mask, labelling, delays, convention: as for :func:`least_squares`.
        sigma: noise of one difference volume (batch,), which the method is told.
    """
    start = least_squares(difference, mask, labelling, delays, convention)
    cbf, time = (start.cbf / NEIGHBOUR_CBF).requires_grad_(), (start.att_s / NEIGHBOUR_ATT_S).requires_grad_()
    optimiser = torch.optim.Adam([cbf, time], lr=1.0)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, STEP, ITERATIONS)
    noise = sigma[:, None, None, None]
    for _ in range(ITERATIONS):
        flow, att_s = cbf * NEIGHBOUR_CBF, (time * NEIGHBOUR_ATT_S).clamp(*ATT_LIMITS_S)
        predicted = difference_signals(flow, att_s, labelling, delays, convention=convention)
        misfit = 0.5 * (((predicted - difference) / noise).square() * mask).sum()
        cost = misfit + _roughness(flow, mask, NEIGHBOUR_CBF) + _roughness(att_s, mask, NEIGHBOUR_ATT_S)
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        rate.step()
    return Maps(
        (cbf.detach() * NEIGHBOUR_CBF).clamp(0, CBF_LIMIT) * mask,
        (time.detach() * NEIGHBOUR_ATT_S).clamp(*ATT_LIMITS_S) * mask,
    )
