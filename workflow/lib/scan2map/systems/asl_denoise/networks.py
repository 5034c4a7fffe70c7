"""The network of the settings' design."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from scan2map.models.deep_asl import DeepAsl
from scan2map.models.dilated_denoiser import DilatedDenoiser
from scan2map.models.guided_denoiser import GuidedDenoiser


def build_network(settings: Mapping[str, Any]) -> nn.Module:
    """A network that estimates the noise of difference images, one channel per delay."""
    network, channels = settings["network"], max(1, len(settings["simulation"]["delays_s"]))
    if network["design"] == "dilated":
        return DilatedDenoiser(channels, network["filters"])
    design = {"guided": GuidedDenoiser, "deepasl": DeepAsl}[network["design"]]
    return design(channels, network["filters"], network["layers"])
