"""The network that the settings describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from scan2map.errors import SettingError
from scan2map.models.tensor_translation import TemplateTensor, TensorGenerator, VoxelwiseNetwork
from scan2map.systems.bssfp_dti.channels import CHANNELS, TEMPLATE_BOX_MM, TEMPLATE_SOURCES


def make_network(settings: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network.

    Args:
        settings: the system's settings.

    Raises:
        SettingError: design, modality and course of training do not go together.
    """
    network, modality = settings["network"], settings["modality"]
    staged = settings["stages"]["course"] == "multi"
    if (network["design"] == "template") != (modality in TEMPLATE_SOURCES) or (staged and network["design"] != "unet"):
        raise SettingError(
            "Design, modality and course of training do not go together",
            found=f"design {network['design']}, modality {modality}, course {settings['stages']['course']}",
            allowed="the template design with the modality template, several stages with the U-Net",
            remedy="correct settings.network.design, settings.modality or settings.stages.course",
        )
    channels = {name: CHANNELS[name] for name in dict.fromkeys(["dt", modality] if staged else [modality])}
    if network["design"] == "template":
        box = np.ptp(TEMPLATE_BOX_MM, axis=1)
        return TemplateTensor(tuple(int(n) + 1 for n in np.round(box / network["template_voxel_size_mm"])))
    if network["design"] == "voxelwise":
        return VoxelwiseNetwork(channels, network["voxelwise_width"])
    return TensorGenerator(
        channels, network["head_width"], network["widths"], network["normalisation"], network["head_normalisation"],
        network["dropout"], network["prior_points"],
    )  # fmt: skip
