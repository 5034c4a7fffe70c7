"""Checkpoints: written whole or not at all, and used only for the training that they belong to."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

LOGGER = logging.getLogger("scan2map")
LAST, BEST = "last.ckpt", "best.ckpt"
FINGERPRINT, FINISHED = "scan2map_fingerprint", "scan2map_finished"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a kill at any moment leaves the old checkpoint or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options: Any | None = None) -> None:
        """Write a checkpoint."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".partial-{path.name}")
        with partial.open("wb") as handle:
            torch.save(checkpoint, handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides the weights (JSON with sorted keys)."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def read_checkpoint(path) -> dict[str, Any]:
    """A checkpoint on the CPU; only tensors and plain values are loaded, never code."""
    return torch.load(path, map_location="cpu", weights_only=True)


def resumable(folder, wanted: str) -> Path | None:
    """The last checkpoint of a training; ``None`` where there is none, or where it belongs to other settings or data.

    Args:
        folder: of the training's checkpoints.
        wanted: fingerprint of the training that is about to run.
    """
    path = Path(folder) / LAST
    if not path.is_file():
        return None
    if read_checkpoint(path).get(FINGERPRINT) == wanted:
        return path
    LOGGER.info("The checkpoint in %s belongs to other settings, data or code: training starts anew", folder)
    return None
