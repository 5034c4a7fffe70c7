"""Ensembles: one estimate from several networks, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from scan2map.systems.asl_quantnet.estimators import Estimator
from scan2map.systems.asl_quantnet.labelling import Labelling

ATT_LIMITS_S = (0.0, 4.5)


class Prediction(NamedTuple):
    """Perfusion (ml/100g/min) and transit time (s) with standard deviations, each (batch, 1, y, x)."""

    cbf: torch.Tensor
    att_s: torch.Tensor
    sd_cbf: torch.Tensor
    sd_att_s: torch.Tensor


def _spread(means: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """Standard deviation of a mixture with equal weights: mean variance plus variance of the means."""
    return (variances.mean(0) + means.var(0, unbiased=False)).sqrt()


@torch.no_grad()
def predict_ensemble(
    members: Sequence[Estimator], difference: torch.Tensor, mask: torch.Tensor, labelling: Labelling
) -> Prediction:
    """Mean of the members; their own spread and their disagreement together are the uncertainty.

    Perfusion is at least 0 and the transit time within 0 to 4.5 s.
    """
    found = [member(difference, mask, labelling) for member in members]
    cbf, att_s = torch.stack([one.cbf for one in found]), torch.stack([one.att_s for one in found])
    var_cbf = torch.stack([(one.log_sd_cbf.exp() * one.unit).square() for one in found])
    var_att = torch.stack([(2 * one.log_sd_att).exp() for one in found])
    return Prediction(
        cbf.mean(0).clamp_min(0) * mask, att_s.mean(0).clamp(*ATT_LIMITS_S) * mask,
        _spread(cbf, var_cbf) * mask, _spread(att_s, var_att) * mask,
    )  # fmt: skip
