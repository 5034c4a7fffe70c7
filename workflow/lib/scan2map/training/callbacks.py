"""What happens beside the steps of a training: seeds, history, progress, checkpoints.

One Lightning epoch is the way from one checkpoint to the next.
"""

from __future__ import annotations

import logging
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from scan2map.training.checkpoints import BEST, FINGERPRINT, FINISHED, LAST

LOGGER = logging.getLogger("scan2map")
MONITORED = "validation/loss"


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed Python, NumPy and torch (all devices) for one step, so that no generator state needs to be kept."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed((int(words[2]) << 32) | int(words[3]))


class SeedSteps(Callback):
    """Seed every generator before each training step and each validation from the seed and the step's number."""

    def __init__(self, seed: int, steps: int):
        self.seed, self.steps = seed, steps

    def on_train_batch_start(self, trainer, module, batch, index: int) -> None:
        seed_step(self.seed, trainer.current_epoch * self.steps + index, trainer.global_rank)

    def on_validation_start(self, trainer, module) -> None:
        seed_step(self.seed, 2**40, trainer.global_rank)


class History(Callback):
    """One row per checkpoint: step, every logged loss, learning rate. It travels in the checkpoint."""

    def __init__(self, steps: int):
        self.steps = steps
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer, module) -> None:
        logged = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"step": (trainer.current_epoch + 1) * self.steps, **logged, "learning_rate": float(rate)})

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class Progress(Callback):
    """One line per checkpoint: step, losses, samples per second, time to go; and the figures of the training's cost.

    The first step of a run warms up caches and compilers: it is left out of the throughput.
    """

    def __init__(self, steps: int, batch_size: int, history: History):
        self.steps, self.batch_size, self.history = steps, batch_size, history
        self.seconds, self.samples, self.gpu_memory_mb = 0.0, 0, 0.0
        self._since: float | None = None

    def on_train_batch_end(self, trainer, module, outputs, batch, index: int) -> None:
        if self._since is None:
            _wait(module)
            self._since = time.perf_counter()
        else:
            self.samples += self.batch_size

    def on_validation_start(self, trainer, module) -> None:
        self._stop(module)

    def on_train_epoch_end(self, trainer, module) -> None:
        self._stop(module)
        if trainer.is_global_zero:
            LOGGER.info("%s", self._line(trainer))

    def on_train_epoch_start(self, trainer, module) -> None:
        if self.samples:
            self._since = time.perf_counter()

    @property
    def samples_per_s(self) -> float:
        """Throughput of training over all devices, without validation."""
        return self.samples / self.seconds if self.seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "samples": self.samples, "gpu_memory_mb": self.gpu_memory_mb}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.samples = state_dict["seconds"], state_dict["samples"]
        self.gpu_memory_mb = state_dict["gpu_memory_mb"]

    def _stop(self, module) -> None:
        if self._since is None:
            return
        _wait(module)
        self.seconds += time.perf_counter() - self._since
        self._since = None
        if module.device.type == "cuda":
            self.gpu_memory_mb = max(self.gpu_memory_mb, torch.cuda.max_memory_allocated(module.device) / 2**20)

    def _line(self, trainer) -> str:
        row, total = self.history.rows[-1], trainer.max_epochs * self.steps
        losses = "  ".join(f"{name} {row[name]:.4g}" for name in ("train/loss", MONITORED) if name in row)
        left_s = (total - row["step"]) * self.batch_size / self.samples_per_s if self.samples else 0.0
        speed = f"{self.samples_per_s:.3g} samples/s  {int(left_s) // 60}:{int(left_s) % 60:02d} to go"
        return f"step {row['step']}/{total}  {losses}  {speed}"


def _wait(module) -> None:
    """Let the device finish, so that the clock is right."""
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)


class ResumePoints(Checkpoint):
    """A checkpoint of everything at the end of each epoch, and the weights of the lowest validation loss.

    Args:
        folder: where they go.
        fingerprint: of this training.
        keep_best: also keep the best one.
    """

    def __init__(self, folder, fingerprint: str, keep_best: bool):
        self.folder, self.fingerprint, self.keep_best = Path(folder), fingerprint, keep_best
        self.lowest, self.finished = float("inf"), False

    def on_train_epoch_end(self, trainer, module) -> None:
        self.finished = trainer.should_stop or trainer.current_epoch + 1 >= trainer.max_epochs
        loss = float(trainer.callback_metrics.get(MONITORED, float("inf")))
        if self.keep_best and loss < self.lowest:
            self.lowest = loss
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)

    def on_save_checkpoint(self, trainer, module, checkpoint: dict[str, Any]) -> None:
        checkpoint[FINGERPRINT], checkpoint[FINISHED] = self.fingerprint, bool(self.finished)

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.lowest = state_dict["lowest"]
