"""What a finished training leaves: weights, history and figures, all taken from its checkpoints."""

from __future__ import annotations

import os
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from scan2map.evaluation.long_table import write_table
from scan2map.provenance import commit, software_versions, write_json
from scan2map.training import devices
from scan2map.training.checkpoints import BEST, LAST, read_checkpoint
from scan2map.training.plan import Plan

LIBRARIES = ("lightning", "monai", "torchmetrics", "safetensors")


def write_results(plan: Plan) -> None:
    """Weights, history and figures of a finished training, from its checkpoints."""
    job, folder = plan.job, Path(plan.job.checkpoints)
    last = read_checkpoint(folder / LAST)
    best = plan.job.model["training"]["selection"] == "best"
    chosen = read_checkpoint(folder / BEST) if best else last
    states = last["callbacks"]
    rows = states["History"]["rows"]
    _write_weights(chosen["state_dict"], job.weights)
    write_table(pd.DataFrame(rows), job.history)
    write_json(job.summary, _summary(plan, rows, states["Progress"], chosen["callbacks"]["History"]["rows"][-1]))


def _write_weights(state: dict[str, torch.Tensor], path) -> None:
    from safetensors.torch import save

    prefix = "network."
    named = {name: value.contiguous() for name, value in state.items() if name.startswith(prefix)}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    partial.write_bytes(save({name.removeprefix(prefix): value for name, value in named.items()}))
    os.replace(partial, path)


def _summary(plan: Plan, rows: list[dict], cost: dict[str, float], chosen: dict[str, float]) -> dict[str, Any]:
    job = plan.job
    return {
        **plan.facts,
        "variant": job.variant,
        "fold": job.fold,
        "training": dict(job.model["training"]),
        "normalisation": plan.normalisation,
        "fingerprint": plan.fingerprint,
        "steps": rows[-1]["step"],
        "packaged_step": chosen["step"],
        "figures": {name: value for name, value in chosen.items() if "/" in name},
        "training_s": round(cost["seconds"], 1),
        "samples_per_s": round(cost["samples"] / cost["seconds"], 2) if cost["seconds"] else None,
        "gpu_memory_mb": round(cost["gpu_memory_mb"]) or None,
        "device_name": devices.describe(job.model["compute"]["device"]),
        "processes": job.processes,
        "commit": commit(),
        "software": software_versions() | _versions(),
    }


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in LIBRARIES if find_spec(name)}
