"""Conditional adversarial training of a tensor generator, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.nets import PatchDiscriminator
from torch import nn

from scan2map.models.tensor_translation import ELEMENTS, TensorFeatures
from scan2map.systems.bssfp_dti.channels import CHANNELS, channel_scale
from scan2map.systems.bssfp_dti.losses import (
    MedicalNetFeatures,
    masked_l1,
    perceptual_loss,
    realness_loss,
    structural_loss,
)
from scan2map.systems.bssfp_dti.representation import Representation
from scan2map.systems.bssfp_dti.stages import Stage, at_step, learning_rate, plan_stages
from scan2map.training.module import OPTIMISERS, TrainedModule

INNER_LAYERS = 3  # with the first and the last one: five convolutions
DISCRIMINATOR_MOMENTUM = (0.5, 0.999)


def make_discriminator(modality: str, width: int) -> nn.Module:
    """Patch discriminator of image and tensor: five convolutions, LeakyReLU 0.2, batch normalisation."""
    return PatchDiscriminator(
        spatial_dims=3, channels=width, in_channels=CHANNELS[modality] + ELEMENTS, num_layers_d=INNER_LAYERS,
        activation=("LEAKYRELU", {"negative_slope": 0.2}), norm="BATCH",
    )  # fmt: skip


class TranslationModule(TrainedModule):
    """Trains a generator against L1, structural, perceptual and adversarial losses.

    Batches hold ``matrices``, ``mask`` and (but for the autoencoder) ``image``; in the autoencoder stage the target is
    the image. The step counter is a buffer, so that a training that goes on from a checkpoint is in the right stage.

    Args:
        network: the generator.
        training: block ``training`` of the model file.
        settings: the system's settings.
        normalisation: constants of the training part.
    """

    def __init__(
        self, network: nn.Module, training: Mapping[str, Any], settings: Mapping[str, Any], normalisation: Mapping
    ):
        super().__init__(network, training)
        self.automatic_optimization = False
        self.weights, self.modality = settings["loss"], settings["modality"]
        kind = settings["parametrisation"]
        self.representation = Representation(kind, normalisation["elements"][kind])
        self.channel_constants = normalisation["channels"]
        self.stages = plan_stages(settings, training["max_steps"])
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.long))
        width = settings["loss"]["discriminator_width"]
        self.discriminators = nn.ModuleDict(
            {stage.modality: make_discriminator(stage.modality, width) for stage in self.stages}
            if self.weights["adversarial"]
            else {}
        )
        given = settings["loss"]["medicalnet_file"]
        self.given_features = MedicalNetFeatures(given) if given else None
        self.own_features = TensorFeatures(settings["loss"]["feature_width"]) if not given else None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Generator, and where there are such: discriminators, autoencoder of the perceptual features."""
        settings = self.training_settings
        optimiser, rate = OPTIMISERS[settings["optimiser"]], settings["learning_rate"]
        found = [optimiser(self.network.parameters(), lr=rate, weight_decay=settings["weight_decay"])]
        if len(self.discriminators):
            found.append(torch.optim.Adam(self.discriminators.parameters(), lr=rate, betas=DISCRIMINATOR_MOMENTUM))
        if self._learns_features:
            found.append(torch.optim.Adam(self.own_features.parameters(), lr=rate))
        return found

    @property
    def _learns_features(self) -> bool:
        return self.own_features is not None and bool(self.weights["perceptual"])

    def begin_stage(self, stage: Stage) -> None:
        """Freeze or free the body; a frozen body's normalisation stands still too."""
        if self.network.staged:
            self.network.body.requires_grad_(not stage.heads_only).train(not stage.heads_only)
        if self.given_features is not None:
            self.given_features.eval()

    def training_step(self, batch: Mapping[str, torch.Tensor], index: int) -> None:
        """One step of the discriminator, of the generator and of the feature autoencoder."""
        stage, step = at_step(self.stages, int(self.steps_done))
        self.begin_stage(stage)
        target, image = self.pair(batch, stage.modality)
        optimisers = self.optimizers()
        generator, *others = optimisers if isinstance(optimisers, list) else [optimisers]
        rate = learning_rate(stage, step, self.training_settings)
        for optimiser in (generator, *others):
            for group in optimiser.param_groups:
                group["lr"] = rate
        placed = self.placed(image, batch)
        predicted = self.network(placed, stage.modality).float() * batch["mask"]
        parts = {}
        if len(self.discriminators):
            parts |= self._judge(others.pop(0), stage.modality, image, target, predicted.detach())
        if self._learns_features:
            parts |= self._learn_features(others.pop(0), target)
        parts |= self.generator_losses(predicted, target, image, batch["mask"], stage.modality)
        self._descend(generator, parts["loss"], self.network)
        self.steps_done += 1
        self.record("train", parts)

    def _descend(self, optimiser, loss: torch.Tensor, network: nn.Module) -> None:
        optimiser.zero_grad()
        self.manual_backward(loss)
        if self.training_settings["gradient_clip"]:
            nn.utils.clip_grad_norm_(network.parameters(), self.training_settings["gradient_clip"])
        optimiser.step()

    def _judge(self, optimiser, modality: str, image, target, predicted) -> dict[str, torch.Tensor]:
        judge = self.discriminators[modality]
        scores = [judge(torch.cat([image, tensors], dim=1))[-1] for tensors in (target, predicted)]
        loss = (realness_loss(scores[0], True) + realness_loss(scores[1], False)) / 2
        self._descend(optimiser, loss, judge)
        return {"discriminator": loss}

    def _learn_features(self, optimiser, target: torch.Tensor) -> dict[str, torch.Tensor]:
        loss = (self.own_features(target) - target).abs().mean()
        self._descend(optimiser, loss, self.own_features)
        return {"features": loss}

    def pair(self, batch: Mapping[str, torch.Tensor], modality: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Target representation and input channels of a batch, scaled by the constants of the training part."""
        target = self.representation.scale(batch["matrices"]) * batch["mask"]
        if modality == "dt":
            return target, target
        return target, batch["image"] * channel_scale(modality, self.channel_constants).to(target.device)

    def placed(self, image: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The image with the places behind its channels, if the network has a prior that asks for them."""
        return torch.cat([image, batch["place"]], dim=1) if self.network.prior is not None else image

    def generator_losses(self, predicted, target, image, mask, modality: str) -> dict[str, torch.Tensor]:
        """The parts of the generator's loss and their weighted sum ``loss``."""
        parts = {"l1": masked_l1(predicted, target, mask)}
        if self.weights["ssim"]:
            parts["ssim"] = structural_loss(predicted, target)
        if self.weights["perceptual"]:
            features = self.given_features or self.own_features
            parts["perceptual"] = perceptual_loss(features.features, predicted, target)
        if len(self.discriminators):
            scores = self.discriminators[modality](torch.cat([image, predicted], dim=1))[-1]
            parts["adversarial"] = realness_loss(scores, True)
        return {"loss": torch.stack([self.weights[name] * value for name, value in parts.items()]).sum(), **parts}

    def losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """L1 of the modality that the package is for (in the first stage its head is not trained yet)."""
        target, image = self.pair(batch, self.modality)
        predicted = self.network(self.placed(image, batch), self.modality)
        return {"loss": masked_l1(predicted.float(), target, batch["mask"])}
