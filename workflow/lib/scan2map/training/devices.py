"""The device and arithmetic that a model file names: there, or the run stops. Never another one in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scan2map.errors import SettingError

GPU_ONLY = ("16-mixed",)


def missing(compute: Mapping[str, Any]) -> list[str]:
    """What this machine lacks to compute as told, each as one sentence.

    Args:
        compute: block ``compute`` of a model file.
    """
    device, precision = compute["device"], compute["precision"]
    if device == "cpu":
        return [f"precision {precision} needs a GPU, but device is cpu"] if precision in GPU_ONLY else []
    import torch

    if not torch.cuda.is_available():
        return ["device is cuda, but torch finds no GPU on this machine"]
    found = []
    if torch.cuda.device_count() < compute["devices"]:
        found.append(f"{compute['devices']} GPUs are asked for, torch finds {torch.cuda.device_count()}")
    if precision.startswith("bf16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        found.append(f"precision {precision} is not supported by {torch.cuda.get_device_name()}")
    return found


def require(compute: Mapping[str, Any], where: str) -> None:
    """Stop when the device or its arithmetic is not there.

    Raises:
        SettingError: says what is missing.
    """
    found = missing(compute)
    if found:
        remedy = "choose a machine that has it, or change compute in the model file"
        raise SettingError(f"{where} cannot run here: {'; '.join(found)}", remedy=remedy)


def describe(device: str) -> str:
    """Name of the device that computes."""
    import platform

    import torch

    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
