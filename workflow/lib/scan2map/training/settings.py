"""The settings file of a system: checked, filled with defaults, and seen through a variant."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scan2map.config import check_block, load_schema, load_system_schema, merge, system_names
from scan2map.errors import SettingError

MODEL_FOLDER = Path("config/models")
# What a variant may change, and the part of the settings that it may not.
VARIED = ("settings", "training", "seeds")
FIXED = "data"


def _read(name: str, folder: Path) -> dict[str, Any]:
    path = folder / f"{name}.yaml"
    if name not in system_names():
        remedy = "correct learning.systems; docs/adding-a-system.md says how a system is added"
        raise SettingError("There is no such system", found=name, allowed=", ".join(system_names()), remedy=remedy)
    if not path.is_file():
        raise SettingError("The settings of a system are missing", file=path, remedy="create it, even if it is empty")
    return yaml.safe_load(path.read_text()) or {}


def _check_schedule(training: Mapping[str, Any], where: str) -> None:
    interval = min(training["checkpoint_every_steps"], training["max_steps"])
    if training["max_steps"] % interval:
        raise SettingError(
            f"{where}.training.max_steps is not a multiple of checkpoint_every_steps",
            found=f"{training['max_steps']} and {training['checkpoint_every_steps']}",
            remedy="training stops at a checkpoint: choose one a multiple of the other",
        )


def _check_devices(compute: Mapping[str, Any], training: Mapping[str, Any], where: str) -> None:
    processes = compute["devices"] * compute["nodes"]
    if training["batch_size"] % processes:
        raise SettingError(
            f"{where}.training.batch_size cannot be shared evenly by the devices",
            found=f"{training['batch_size']} samples, {processes} devices",
            remedy="choose a multiple of devices × nodes",
        )


def _checked(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    model = check_block(f"models.{name}", raw, load_schema("model"))
    model["settings"] = check_block(f"models.{name}.settings", model["settings"], load_system_schema(name))
    _check_schedule(model["training"], f"models.{name}")
    _check_devices(model["compute"], model["training"], f"models.{name}")
    return model


def load_model(name: str, overrides: Mapping[str, Any] | None = None, folder: Path = MODEL_FOLDER) -> dict[str, Any]:
    """The settings of a system, every key filled in, every variant checked.

    Args:
        name: of the system.
        overrides: values of the study that win over the file (``learning.overrides.<name>``).
        folder: where the files lie.

    Raises:
        SettingError: no such system or file, an unknown key, a value that is not allowed, or a variant that changes
            what it may not.
    """
    raw = merge(_read(name, folder), overrides or {})
    model = _checked(name, raw)
    model["raw"] = raw
    for variant in model["variants"]:
        variant_of(name, model, variant)
    if model["variant"] not in model["variants"]:
        raise SettingError(
            f"models.{name}.variant is not one of its variants",
            found=model["variant"],
            allowed=", ".join(model["variants"]),
        )
    return model


def variant_of(name: str, model: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The settings of one variant: ``settings``, ``training``, ``seeds`` and ``compute``.

    Args:
        name: of the system.
        model: from :func:`load_model`.
        variant: name of the variant.

    Raises:
        SettingError: there is no such variant, or it changes something that it may not.
    """
    if variant not in model["variants"]:
        allowed = ", ".join(model["variants"])
        raise SettingError(f"There is no such variant of {name}", found=variant, allowed=allowed)
    changes = model["variants"][variant]
    surplus = sorted(set(changes) - set(VARIED)) + [FIXED] * (FIXED in changes.get("settings", {}))
    if surplus:
        allowed = f"{', '.join(VARIED)} (not settings.{FIXED})"
        raise SettingError(f"The variant {variant!r} of {name} changes what it may not", found=surplus, allowed=allowed)
    checked = _checked(name, merge(model["raw"], {key: copy.deepcopy(changes[key]) for key in changes}))
    return {key: checked[key] for key in (*VARIED, "compute")}


def deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the weights: all but how they are scored."""
    return {key: value for key, value in settings.items() if key != "evaluation"}
