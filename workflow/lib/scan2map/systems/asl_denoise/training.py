"""Training on simulated scans: a batch of tissue becomes averages of few pairs on the device, then the losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from scan2map.phantom.slices.perfusion import seeded
from scan2map.systems.asl_denoise.kinetics import fit_delays
from scan2map.systems.asl_denoise.labelling import consensus_map
from scan2map.systems.asl_denoise.losses import TERMS, contrast_bias
from scan2map.systems.asl_denoise.simulator import Batch, simulate
from scan2map.systems.asl_denoise.tiles import with_guide
from scan2map.training.losses import tissue_bias_loss
from scan2map.training.module import TrainedModule

VALIDATION_SLICES, VALIDATION_SEED = 64, 20_261
TISSUE_SHARE = 0.7  # a voxel counts for a tissue's mean from this share on
PERFUSED_CBF = 10.0  # transit time means nothing where hardly any blood arrives, ml/100g/min


class DenoiseModule(TrainedModule):
    """Trains a residual network.

    Args:
        network: estimates the noise of its input.
        training: block ``training`` of the model file.
        settings: the system's settings.
    """

    def __init__(self, network: nn.Module, training: Mapping[str, Any], settings: Mapping[str, Any]):
        super().__init__(network, training)
        self.simulation, self.weights = settings["simulation"], settings["loss"]
        self.term = TERMS[self.weights["normalised"]]

    def losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Simulate scans of the batch's tissue with torch's own (seeded) randomness; the parts of the loss."""
        return self.scored(batch, seeded(int(torch.randint(2**31, ())), device=batch["fractions"].device))

    def validation_losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The same with noise that depends on the batch alone."""
        first = int(batch["index"][0])
        return self.scored(batch, seeded(VALIDATION_SEED, first, device=batch["fractions"].device))

    def scored(self, batch: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The parts of the loss of one simulated batch."""
        with torch.no_grad():
            scan = simulate(batch["fractions"], batch["voxel_mm"], self.simulation, generator)
        given = with_guide(self.network, scan.noisy, scan.guide)
        return self.parts(scan.noisy - self.network(given).float(), scan)

    def parts(self, denoised: torch.Tensor, scan: Batch) -> dict[str, torch.Tensor]:
        """λ · noise left in the image + (1 − λ) · noise left in what the kinetic model makes of it."""
        image = self.term(denoised, scan.noisy, scan.clean, self.importance(scan))
        kinetic = self.several_delays(denoised, scan) if self.simulation["delays_s"] else self.one_delay(denoised, scan)
        share = self.weights["image_share"]
        loss = share * image + (1 - share) * sum(kinetic.values()) / len(kinetic)
        biases = {
            "tissue_bias": self.tissue_bias(denoised, scan),
            "contrast_bias": contrast_bias(denoised, scan.clean, scan.slices.contrast()),
        }
        loss = loss + sum(self.weights[name] * bias for name, bias in biases.items())
        return {"loss": loss, "image": image, **biases, **kinetic}

    def importance(self, scan: Batch) -> torch.Tensor:
        """What each voxel counts in the error of the image and of perfusion."""
        return scan.mask * (1 + self.weights["lesion_weight"] * scan.slices.lesion)

    @staticmethod
    def tissue_bias(denoised: torch.Tensor, scan: Batch) -> torch.Tensor:
        """Squared relative error of the mean signal of nearly pure grey and white matter, mean over the delays."""
        tissue = scan.slices.fractions[:, 1:]
        weights = tissue * (tissue > TISSUE_SHARE) * scan.mask
        errors = (
            tissue_bias_loss(*pair, weights) for pair in zip(denoised.split(1, 1), scan.clean.split(1, 1), strict=True)
        )
        return torch.stack(list(errors)).mean()

    def one_delay(self, denoised: torch.Tensor, scan: Batch) -> dict[str, torch.Tensor]:
        """Error of perfusion by the consensus formula."""
        maps = (consensus_map(image, scan.slices.relative_m0) for image in (denoised, scan.noisy, scan.clean))
        return {"cbf": self.term(*maps, self.importance(scan))}

    def several_delays(self, denoised: torch.Tensor, scan: Batch) -> dict[str, torch.Tensor]:
        """Errors of perfusion and of transit time by the fit over delays."""
        fits = [fit_delays(image, *self._known(scan)) for image in (denoised, scan.noisy, scan.clean)]
        cbf, att = zip(*fits, strict=True)
        perfused = scan.mask * (cbf[2] > PERFUSED_CBF)
        return {"cbf": self.term(*cbf, scan.mask), "att": self.term(*att, perfused)}

    @staticmethod
    def _known(scan: Batch) -> tuple:
        return scan.slices.relative_m0, scan.slices.labelling
