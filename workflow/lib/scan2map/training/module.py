"""The Lightning module that all systems share: losses by name, optimiser, learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def rate_factor(step: int, training: Mapping[str, Any]) -> float:
    """Learning rate of a step, relative to the highest one: linear warm-up, then constant or half a cosine to zero.

    Args:
        step: optimisation step, from 0.
        training: ``schedule``, ``warmup_steps``, ``max_steps``.
    """
    warmup = training["warmup_steps"]
    if step < warmup:
        return (step + 1) / warmup
    if training["schedule"] == "constant":
        return 1.0
    progress = (step - warmup) / max(1, training["max_steps"] - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class TrainedModule(LightningModule, ABC):
    """A network in training. A system says what its losses are; everything else is here and may be overridden.

    A system that needs several optimisers (a discriminator) sets ``automatic_optimization = False`` and overrides
    :meth:`training_step` and :meth:`configure_optimizers`; it then steps its learning rates and clips its gradients by
    itself. Only ``network`` is packaged.

    Args:
        network: what the package will hold.
        training: block ``training`` of the model file.
    """

    def __init__(self, network: torch.nn.Module, training: Mapping[str, Any]):
        super().__init__()
        self.network = network
        self.training_settings = dict(training)

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """The parts of the loss of a batch; the key ``loss`` is what is minimised."""

    def validation_losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """The figures of a validation batch; its ``loss`` selects and stops. The training losses, if not overridden."""
        return self.losses(batch)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """One step: log every part, return the loss."""
        parts = self.losses(batch)
        self.record("train", parts)
        return parts["loss"]

    def validation_step(self, batch: Any, index: int) -> None:
        """Log every part of the validation loss."""
        self.record("validation", self.validation_losses(batch))

    def record(self, part: str, values: Mapping[str, torch.Tensor]) -> None:
        """Put values into the history as ``<part>/<name>``, averaged from one checkpoint to the next."""
        named = {f"{part}/{name}": value.detach() for name, value in values.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser over all parameters and its learning rate per step."""
        settings = self.training_settings
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimiser = OPTIMISERS[settings["optimiser"]](
            parameters, lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
        )
        rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_factor(step, settings))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
