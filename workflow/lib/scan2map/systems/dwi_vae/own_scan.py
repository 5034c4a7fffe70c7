"""Fit a network to one scan: the shared training path on a data set of that scan alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scan2map.config import merge
from scan2map.systems.dwi_vae.estimators import Estimator

# A scan is fitted to the end: there is nobody to validate on.
TO_THE_END = {"selection": "last", "early_stop_checkpoints": None}
# One process does it, whatever the package was trained with.
ALONE = {"devices": 1, "nodes": 1, "workers": 0, "strategy": "auto"}


def fit_own_scan(
    file: Path,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    compute: Mapping[str, Any],
    seed: int,
    folder: Path,
) -> Estimator:
    """Train a fresh network on one scan; with the same folder an interrupted fit goes on where it was.

    Args:
        file: data-set file of the scan.
        settings: the system's settings.
        training: block ``training`` of the model file.
        compute: block ``compute``.
        seed: of the network.
        folder: for checkpoints and weights.
    """
    from safetensors.torch import load_file

    from scan2map.training.fit import fit_job
    from scan2map.training.job import TrainingJob

    folder = Path(folder) / f"seed-{seed}"
    settings = merge(settings, {"simulation": {"training_snr": []}})
    compute = {**compute, **ALONE, "threads": torch.get_num_threads()}
    model = {"settings": settings, "training": {**training, **TO_THE_END}, "compute": compute}
    weights, summary = folder / "weights.safetensors", folder / "summary.json"
    names = {"system": "dwi_vae", "variant": "own_scan", "fold": "own", "seed": seed}
    paths = {
        "checkpoints": folder / "checkpoints",
        "weights": weights,
        "summary": summary,
        "history": folder / "history.tsv",
    }
    job = TrainingJob(
        **names, model=model, train=(str(file),), validation=(), **{key: str(path) for key, path in paths.items()}
    )
    fit_job(job)
    network = Estimator(settings, json.loads(summary.read_text())["normalisation"])
    network.load_state_dict(load_file(weights))
    return network.eval().to(torch.device(compute["device"]))
