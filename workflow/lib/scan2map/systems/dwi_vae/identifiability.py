"""Can the shells of a scan carry a model? Refused where they cannot, warned where they hardly can."""

from __future__ import annotations

import logging

import torch

from scan2map.errors import DataError
from scan2map.physics.diffusion import quadratic_form
from scan2map.systems.dwi_vae.signal_models import SignalModel, Tissue
from scan2map.systems.dwi_vae.voxels import Acquisition

LOGGER = logging.getLogger("scan2map")
FEWEST_DIRECTIONS = 6
# Share of voxels beyond the validity of the kurtosis expansion from which on it is told.
TOLD_SHARE = 0.05


def require_identifiable(model: SignalModel, acquisition: Acquisition) -> None:
    """Stop where infinitely many parameters explain the signals equally well.

    Direction averages give one number per b-value: a model of p scalars needs p of them, b = 0 included.

    Raises:
        DataError: no b = 0, too few shells, or too few directions.
    """
    shells = acquisition.shells
    found = ", ".join(f"{b:g}" for b in shells.tolist())
    if shells[0] != 0:
        raise DataError("The scan has no volume without diffusion weighting", found=f"b = {found} s/mm²")
    if not model.directional and len(shells) < len(model.parameters):
        raise DataError(
            f"The shells cannot carry the model {model.name}: {len(model.parameters)} parameters are not determined",
            found=f"b = {found} s/mm²",
            allowed=f"{len(model.parameters)} distinct b-values or more, b = 0 included",
            remedy="use the model ball_stick_tied, or a scan with more shells",
        )
    directions = _independent_directions(acquisition)
    if model.directional and directions < FEWEST_DIRECTIONS:
        raise DataError(
            f"The scan has too few directions for the model {model.name}",
            found=directions,
            allowed=f"{FEWEST_DIRECTIONS} independent ones",
        )


def _independent_directions(acquisition: Acquisition) -> int:
    """How many elements of a tensor the directions determine, 0 to 6."""
    directions = acquisition.directions[acquisition.b_values > 0]
    return int(torch.linalg.matrix_rank(quadratic_form(directions), rtol=1e-3)) if len(directions) else 0


def beyond_validity(model: SignalModel, acquisition: Acquisition, tissue: Tissue) -> torch.Tensor:
    """Voxels (n,) whose b = 3/(DK), where the kurtosis expansion turns upwards, lies below the largest b-value."""
    d, k = tissue.values[:, 1], tissue.values[:, 2]
    return acquisition.b_values.max() * d * k > 3


def warnings_for(model: SignalModel, acquisition: Acquisition, tissue: Tissue) -> list[str]:
    """Sentences on what the scan can hardly tell, each also logged.

    Args:
        model: the signal model.
        acquisition: what was measured.
        tissue: parameters of the voxels (of a voxel-wise fit).
    """
    found = []
    if model.directional and len(acquisition.shells) == 2 and "DBALL" in model.names:
        found.append(
            "A single shell hardly separates the diffusivities of ball and stick; the model ball_stick_tied has one."
        )
    if not model.directional:
        share = beyond_validity(model, acquisition, tissue).double().mean().item()
        if share > TOLD_SHARE:
            found.append(
                f"In {100 * share:.0f} % of the voxels the largest b-value ({acquisition.b_values.max():g} s/mm²) lies "
                "beyond 3/(DK), where the kurtosis expansion turns upwards; lower b_max_s_per_mm2."
            )
        if len(acquisition.shells) == len(model.parameters):
            found.append("There are as many b-values as parameters: the fit has no residual that could show a misfit.")
    for sentence in found:
        LOGGER.warning("%s", sentence)
    return found
