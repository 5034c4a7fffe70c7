"""Prediction of one session: a network fitted to its own scan, voxel-wise maximum likelihood beside it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scan2map.errors import SettingError
from scan2map.images import Image
from scan2map.systems.dwi_vae.identifiability import FEWEST_DIRECTIONS, warnings_for
from scan2map.systems.dwi_vae.measured import load_scan, read_session, save_session
from scan2map.systems.dwi_vae.own_scan import fit_own_scan
from scan2map.systems.dwi_vae.prediction import predict_scan
from scan2map.systems.dwi_vae.signal_models import signal_model
from scan2map.systems.dwi_vae.voxels import Acquisition

if TYPE_CHECKING:
    from scan2map.training.package import Package

LOGGER = logging.getLogger("scan2map")
SAMPLES = 32  # of the posterior
SINGLE_SHELL = 2  # distinct b-values, b = 0 included
# Names of the maps of each signal model, and the column of the scalar that they hold.
COLUMNS = {"msdki": {"d": 1, "k": 2}, "ball_stick_tied": {"f": 1, "d_stick": 2}}


def demands(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fewest b-values (b = 0 included) and directions that a signal model of the settings needs."""
    models = [signal_model(name) for name in (settings["model"], settings["single_shell_model"]) if name != "none"]
    shells = min(2 if model.directional else len(model.parameters) for model in models)
    return {
        "shells": {"minimum": shells, "unit": "distinct b-values, b = 0 included"},
        "directions": {"minimum": FEWEST_DIRECTIONS, "unit": "volumes with b > 0"},
    }


def chosen_settings(settings: Mapping[str, Any], acquisition: Acquisition) -> Mapping[str, Any]:
    """The settings for a scan: with the model for single shells where the scan has one shell below the limit.

    Raises:
        SettingError: the model that is left has no maps.
    """
    shells = int((acquisition.shells <= settings["b_max_s_per_mm2"]).sum())
    if shells == SINGLE_SHELL and settings["single_shell_model"] != "none":
        LOGGER.warning(
            "A single shell does not determine %s: the maps are those of %s.",
            settings["model"],
            settings["single_shell_model"],
        )
        settings = {**settings, "model": settings["single_shell_model"]}
    if settings["model"] not in COLUMNS:
        raise SettingError(
            f"There are no maps of the signal model {settings['model']}",
            allowed=", ".join(COLUMNS),
            remedy="predict with a package of another model",
        )
    return settings


def read_acquisition(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """Shells and directions of a session, from its gradient table."""
    from scan2map.preprocess.dwi.gradients import read_gradients

    volumes = len(np.loadtxt(inputs["bval"], ndmin=2).reshape(-1))
    table = read_gradients(inputs["bval"], inputs["bvec"], volumes)
    return {"shells": len(np.unique(table.shells)), "directions": int((~table.is_b0).sum())}


def _image(values: torch.Tensor, mask: np.ndarray, affine: np.ndarray) -> Image:
    data = np.zeros(mask.shape, np.float32)
    data[mask] = values.numpy()
    return Image(data, affine)


def predict_session(
    package: Package, inputs: Mapping[str, Path], device: str, checkpoints: Path | None = None
) -> dict[str, Image]:
    """Maps of one session.

    Args:
        package: its settings, training and first seed are the recipe of the fit.
        inputs: files of the session.
        device: where the network is fitted.
        checkpoints: folder that outlives an interruption; without one the fit starts anew each time.

    Returns:
        An image per map of the signal model that the scan's shells carry.
    """
    if checkpoints is None:
        with tempfile.TemporaryDirectory() as folder:
            return predict_session(package, inputs, device, Path(folder))
    # The caller may have switched gradients off for a prediction; this one trains.
    with torch.inference_mode(mode=False), torch.enable_grad():
        return _fitted_maps(package, inputs, device, Path(checkpoints))


def _fitted_maps(package: Package, inputs: Mapping[str, Path], device: str, checkpoints: Path) -> dict[str, Image]:
    session, file = read_session(inputs), checkpoints / "scan.safetensors"
    save_session(session, file)
    settings, compute = chosen_settings(package.settings, session.acquisition), package.config["compute"]
    training, seed = package.config["training"], package.config["seeds"][0]
    member = fit_own_scan(file, settings, training, {**compute, "device": device}, seed, checkpoints)
    scan = load_scan(file, settings)
    warnings_for(scan.model, scan.voxels.acquisition, scan.fit.tissue)
    found = predict_scan([member], scan, SAMPLES)
    kinds = {"": found.tissue.values, "_ml": scan.fit.tissue.values, "_sd": found.standard_deviation}
    return {
        f"{name}{kind}": _image(values[:, column], session.mask, session.affine)
        for kind, values in kinds.items()
        for name, column in COLUMNS[settings["model"]].items()
    }
