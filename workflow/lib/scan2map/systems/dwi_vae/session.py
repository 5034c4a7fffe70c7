"""Prediction of one session: networks fitted to its own scan, voxel-wise maximum likelihood beside them."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from scan2map.training.package import Package

SAMPLES = 32  # of the posterior per network
# Models whose first parameters are what the system's maps say: name of the map, column of the scalars.
COLUMNS = {"d": 1, "k": 2}
MAPPED_MODELS = ("msdki",)


def demands(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fewest b-values (b = 0 included) and directions that the signal model needs."""
    model = signal_model(settings["model"])
    shells = 2 if model.directional else len(model.parameters)
    return {
        "shells": {"minimum": shells, "unit": "distinct b-values, b = 0 included"},
        "directions": {"minimum": FEWEST_DIRECTIONS, "unit": "volumes with b > 0"},
    }


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
        package: its settings, training and seeds are the recipe of the fit.
        inputs: files of the session.
        device: where the networks are fitted.
        checkpoints: folder that outlives an interruption; without one the fit starts anew each time.

    Raises:
        SettingError: the package's signal model has other parameters than the system's maps.
    """
    if package.settings["model"] not in MAPPED_MODELS:
        raise SettingError(
            f"The package of dwi_vae fits {package.settings['model']}, whose parameters are not the maps D and K",
            allowed=", ".join(MAPPED_MODELS),
            remedy="predict with a package of the model msdki",
        )
    if checkpoints is None:
        with tempfile.TemporaryDirectory() as folder:
            return predict_session(package, inputs, device, Path(folder))
    # The caller may have switched gradients off for a prediction; this one trains.
    with torch.inference_mode(mode=False), torch.enable_grad():
        return _fitted_maps(package, inputs, device, Path(checkpoints))


def _fitted_maps(package: Package, inputs: Mapping[str, Path], device: str, checkpoints: Path) -> dict[str, Image]:
    session, file = read_session(inputs), checkpoints / "scan.safetensors"
    save_session(session, file)
    settings, compute = package.settings, {**package.config["compute"], "device": device}
    members = [
        fit_own_scan(file, settings, package.config["training"], compute, seed, checkpoints)
        for seed in package.config["seeds"]
    ]
    scan = load_scan(file, settings)
    warnings_for(scan.model, scan.voxels.acquisition, scan.fit.tissue)
    found = predict_scan(members, scan, SAMPLES)
    kinds = {"": found.tissue.values, "_ml": scan.fit.tissue.values, "_sd": found.standard_deviation}
    return {
        f"{name}{kind}": _image(values[:, column], session.mask, session.affine)
        for kind, values in kinds.items()
        for name, column in COLUMNS.items()
    }
