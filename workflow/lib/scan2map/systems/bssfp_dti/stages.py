"""The course of a training: one stage, or autoencoder, new head, fine-tuning, in the same total of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scan2map.errors import SettingError
from scan2map.training.module import rate_factor


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes:
        name: for the history.
        steps: its length.
        modality: the input that is translated.
        heads_only: whether the body is frozen.
        rate: learning rate relative to the training's.
    """

    name: str
    steps: int
    modality: str
    heads_only: bool = False
    rate: float = 1.0


def plan_stages(settings: Mapping[str, Any], total: int) -> list[Stage]:
    """The stages of a training.

    Args:
        settings: the system's settings: ``modality`` and the block ``stages``.
        total: steps of the whole training.

    Raises:
        SettingError: several stages for the tensor itself, which is its own autoencoder, or a stage without steps.
    """
    modality, stages = settings["modality"], settings["stages"]
    if stages["course"] == "single":
        return [Stage("single", total, modality)]
    if modality == "dt":
        remedy = "set stages.course: single"
        raise SettingError("The tensor autoencoder is the first stage itself", found="course: multi", remedy=remedy)
    first, second = (round(total * stages[f"{name}_share"]) for name in ("autoencoder", "head"))
    if min(first, second, total - first - second) < 1:
        raise SettingError(
            "A stage of the training has no steps", found=f"{first}, {second} and {total - first - second} of {total}",
            allowed="at least one each", remedy="change stages.autoencoder_share, stages.head_share or max_steps",
        )  # fmt: skip
    return [
        Stage("autoencoder", first, "dt"),
        Stage("head", second, modality, heads_only=True),
        Stage("finetune", total - first - second, modality, rate=stages["finetune_rate"]),
    ]


def at_step(stages: Sequence[Stage], step: int) -> tuple[Stage, int]:
    """The stage of a step and the steps that it has behind it; the last stage goes on."""
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    return stages[-1], stages[-1].steps + step


def learning_rate(stage: Stage, step: int, training: Mapping[str, Any]) -> float:
    """Learning rate of a step of a stage: each stage has its own warm-up and decay.

    Args:
        stage: the stage.
        step: within the stage.
        training: block ``training`` of the model file.
    """
    schedule = {**training, "max_steps": stage.steps}
    return training["learning_rate"] * stage.rate * rate_factor(min(step, stage.steps - 1), schedule)
