"""The network that the settings describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from scan2map.errors import SettingError
from scan2map.models.tensor_translation import MeanBrain, TemplateTensor, TensorGenerator, VoxelwiseNetwork
from scan2map.systems.bssfp_dti.channels import CHANNELS, TEMPLATE_SOURCES
from scan2map.systems.bssfp_dti.mean_brain import unpacked
from scan2map.systems.bssfp_dti.representation import Representation


def make_network(settings: Mapping[str, Any], normalisation: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network.

    Args:
        settings: the system's settings.
        normalisation: constants of the training part, the mean brain among them.

    Raises:
        SettingError: design, modality and course of training do not go together.
    """
    network, modality = settings["network"], settings["modality"]
    staged = settings["stages"]["course"] == "multi"
    placed = network["design"] == "template"
    wrong = placed != (modality in TEMPLATE_SOURCES) or (placed and not network["prior_points"])
    if wrong or (staged and network["design"] != "unet"):
        raise SettingError(
            "Design, modality and course of training do not go together",
            found=f"design {network['design']}, modality {modality}, course {settings['stages']['course']}",
            allowed="the template design with a modality template and prior_points, several stages with the U-Net",
            remedy="correct settings.network.design, settings.modality or settings.stages.course",
        )
    channels = {name: CHANNELS[name] for name in dict.fromkeys(["dt", modality] if staged else [modality])}
    prior = _mean_brain(settings, normalisation) if network["prior_points"] else None
    if network["design"] == "template":
        return TemplateTensor(prior)
    if network["design"] == "voxelwise":
        return VoxelwiseNetwork(channels, network["voxelwise_width"])
    return TensorGenerator(
        channels, network["head_width"], network["widths"], network["normalisation"], network["head_normalisation"],
        network["dropout"], prior,
    )  # fmt: skip


def _mean_brain(settings: Mapping[str, Any], normalisation: Mapping[str, Any]) -> MeanBrain:
    kind, network = settings["parametrisation"], settings["network"]
    scale = Representation(kind, normalisation["elements"][kind])
    lattice = unpacked(normalisation["mean_brain"])
    return MeanBrain(lattice, scale.low, scale.span, network["turned"], network["design"] == "template")
