"""Training on simulated scans: a batch of tissue becomes a batch of noisy signals on the device, then the losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Dataset

from scan2map.errors import SettingError
from scan2map.phantom.slices.perfusion import seeded
from scan2map.phantom.slices.tissue import TissueSlices
from scan2map.systems.asl_quantnet import losses
from scan2map.systems.asl_quantnet.bounds import cramer_rao_variance
from scan2map.systems.asl_quantnet.estimators import Estimate, Estimator
from scan2map.systems.asl_quantnet.labelling import difference_signals
from scan2map.systems.asl_quantnet.simulator import Batch, simulate
from scan2map.training.losses import tissue_bias_loss
from scan2map.training.module import TrainedModule
from scan2map.training.stream import Samples

# Transit time means little where hardly any blood arrives: its errors count in full from this perfusion on.
FULL_WEIGHT_CBF = 15.0
TISSUE_SHARE = 0.7  # a voxel counts for a tissue's mean from this share on
VALIDATION_SLICES, VALIDATION_SEED = 64, 20_260


class FixedSlices(Dataset):
    """The first slices of a stream, for validation: the same tissue and, by its ``seed``, the same noise each time."""

    def __init__(self, draw: TissueSlices, seed: int):
        samples = Samples(draw, seed)
        self.items = [samples[index] | {"seed": index} for index in range(VALIDATION_SLICES)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def check_loss(settings: Mapping[str, Any]) -> None:
    """Stop where the loss asks for what the simulation does not give.

    Raises:
        SettingError: the bias-reduced loss with a single noise realisation.
    """
    copies = settings["simulation"]["realisations"]
    if settings["loss"]["bias_reduced"] and copies < 2:
        raise SettingError(
            "The bias-reduced loss compares noise realisations of the same slice", found=f"realisations = {copies}",
            allowed="2 or more", remedy="raise settings.simulation.realisations",
        )  # fmt: skip


class QuantModule(TrainedModule):
    """Trains an :class:`Estimator`.

    Args:
        network: the estimator.
        training: block ``training`` of the model file.
        settings: the system's settings.
    """

    def __init__(self, network: Estimator, training: Mapping[str, Any], settings: Mapping[str, Any]):
        super().__init__(network, training)
        check_loss(settings)
        self.simulation, self.weights = settings["simulation"], settings["loss"]

    def losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Simulate scans of the batch's tissue with torch's own (seeded) randomness; the parts of the loss."""
        progress = self.global_step / self.training_settings["max_steps"]
        return self.scored(batch, seeded(int(torch.randint(2**31, ())), device=batch["fractions"].device), progress)

    def validation_losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The same with noise that depends on the batch alone."""
        first = int(batch["seed"][0])
        return self.scored(batch, seeded(VALIDATION_SEED, first, device=batch["fractions"].device))

    def scored(
        self, batch: Mapping[str, torch.Tensor], generator: torch.Generator, progress: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """The parts of the loss of one simulated batch, ``progress`` (0 to 1) of the training done."""
        with torch.no_grad():
            scan = simulate(batch["fractions"], batch["voxel_mm"], self.simulation, self.network.delays, generator)
        return self.parts(self.network(scan.difference, scan.mask, scan.labelling), scan, progress)

    def parts(self, estimate: Estimate, scan: Batch, progress: float = 1.0) -> dict[str, torch.Tensor]:
        """Likelihood, tissue bias, and the parts that the settings switch on.

        The weight of the tissue bias grows with ``progress``: its gradient is noisy and slows the likelihood down, and
        unbiased tissue means are learnt late as well as early.
        """
        flow_weight = scan.mask * (scan.cbf / FULL_WEIGHT_CBF).clamp(0, 1)
        tissue = scan.fractions[:, 1:]
        found = {
            "cbf": losses.gaussian_loss((estimate.cbf - scan.cbf) / estimate.unit, estimate.log_sd_cbf, scan.mask),
            "att": losses.gaussian_loss(estimate.att_s - scan.att_s, estimate.log_sd_att, flow_weight),
            "tissue_bias": tissue_bias_loss(estimate.cbf, scan.cbf, tissue * (tissue > TISSUE_SHARE) * scan.mask),
        }
        if self.weights["physics"]:
            found["physics"] = self._consistency(estimate, scan)
        if self.weights["bias_reduced"]:
            found["bias_reduced"] = self._bias_reduced(estimate, scan, flow_weight)
        factors = {**self.weights, "tissue_bias": progress * self.weights["tissue_bias"]}
        weighted = [factors.get(name, 1.0) * value for name, value in found.items()]
        return {"loss": torch.stack(weighted).sum(), **found}

    def _consistency(self, estimate: Estimate, scan: Batch) -> torch.Tensor:
        convention = self.simulation["convention"]
        predicted = difference_signals(
            estimate.cbf, estimate.att_s, scan.labelling, self.network.delays, convention=convention
        )
        return losses.consistency_loss(predicted, scan.difference, scan.sigma, scan.mask)

    def _bias_reduced(self, estimate: Estimate, scan: Batch, weight: torch.Tensor) -> torch.Tensor:
        bounds = cramer_rao_variance(
            scan.cbf.clamp_min(1.0), scan.att_s, scan.labelling, self.network.delays, scan.sigma,
            self.simulation["convention"],
        )  # fmt: skip
        errors = (estimate.cbf - scan.cbf, estimate.att_s - scan.att_s)
        rule = {"strength": self.weights["variance_strength"], "allowance": self.weights["variance_allowance"]}
        copies = self.simulation["realisations"]
        return sum(
            losses.bias_reduced_loss(error, bound, weight, copies, **rule)
            for error, bound in zip(errors, bounds, strict=True)
        )
