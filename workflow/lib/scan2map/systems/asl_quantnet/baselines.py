"""What the network is compared with: least squares, spatially regularised least squares, and the Cramér-Rao bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from scan2map.physics.asl_design import LabelDesign
from scan2map.physics.asl_kinetics import CONSENSUS, GENERAL_KINETIC
from scan2map.preprocess.asl.fit import FitOptions, fit_kinetic
from scan2map.preprocess.asl.fit_spatial import fit_kinetic_regularised
from scan2map.systems.asl_quantnet.labelling import Delays, Labelling

FIT_MODELS = {"blood_t1": CONSENSUS, "tissue_t1": GENERAL_KINETIC}


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


def _into(inside: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    image = torch.zeros(inside.shape, dtype=torch.float32, device=inside.device)
    image[inside] = values.float()
    return image


def _fitted(difference, mask, design: LabelDesign, convention: str) -> Maps:
    inside = mask[:, 0] > 0
    found = fit_kinetic(difference.movedim(1, -1)[inside], design, FitOptions(model=FIT_MODELS[convention]))
    return Maps(*(_into(inside, values)[:, None] for values in (found.cbf, found.att_s)))


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


def _apart(slices: torch.Tensor) -> torch.Tensor:
    """Slices with an empty one between each two, so that a three-dimensional method does not couple them."""
    spaced = slices.new_zeros(2 * len(slices) - 1, *slices.shape[1:])
    spaced[::2] = slices
    return spaced


def regularised_least_squares(
    difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling, delays: Delays, convention: str = "blood_t1"
) -> Maps:
    """Least squares in which neighbours of a slice inform each other (``preprocess.asl.fit_spatial``).

    Args:
        difference, mask, labelling, delays, convention: as for :func:`least_squares`; the label parameters of all
            slices are those of the first.
    """
    inside = _apart(mask[:, 0]) > 0
    signals = _apart(difference).movedim(1, -1)[inside]
    found = fit_kinetic_regularised(
        signals, label_design(labelling, 0, delays), inside.cpu().numpy(), FitOptions(model=FIT_MODELS[convention])
    )
    return Maps(*(_into(inside, values)[::2][:, None] for values in (found.cbf, found.att_s)))
