"""Self-supervised training on the voxels of scans: how well drawn parameters explain signals, and the divergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from scan2map.config import merge
from scan2map.errors import SettingError
from scan2map.systems.dwi_vae.deconvolution import deconvolve
from scan2map.systems.dwi_vae.estimators import Estimator
from scan2map.systems.dwi_vae.likelihood import NOISES, likelihood
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.scans import Scan
from scan2map.systems.dwi_vae.simulate import CLUSTER_NAMES
from scan2map.systems.dwi_vae.voxels import Acquisition, Voxels
from scan2map.training.module import TrainedModule

VALIDATION_BLOCKS = 32
SMALLEST_SD = 1e-3  # of a feature; a constant one is left unscaled
STANDARDISED_ON = 20_000  # voxels
# Standard deviations of the fixed prior of what is told relative to the voxel, in unbounded numbers: S0 within about
# 12 % of the mean b = 0 signal, a direction within about 30° of the voxel-wise one.
SCALE_UNIT, ANGLE_UNIT_RAD = 0.5, 0.5
LOWEST_INFORMATION = 1e-3  # of an estimate, where the signals tell nothing
SQUARES = "squares"
# The kurtosis expansion grows without limit where b D K is large: a misfit above this (nats) counts by its logarithm
# in training, so that single draws do not rule a batch.
LARGEST_MISFIT = 100.0


def trainable(scan: Scan) -> torch.Tensor:
    """Index of the voxels to learn from: all but those outside the paper's clusters."""
    index = torch.arange(len(scan.voxels))
    return index if scan.names != CLUSTER_NAMES else index[scan.label < len(CLUSTER_NAMES) - 1]


def standardisation(scans: Sequence[Scan], tokens: torch.Tensor, mixture: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (features,) of the features in tokens (n, tokens, features and presence).

    For the design ``mixture`` what is told relative to the voxel (S0, turns of the direction) has a fixed unit, and the
    information columns become the information in units of the estimates' own constants.
    """
    known = tokens[tokens[:, -1] > 0][:, :-1]
    mean, sd = known.mean(0), known.std(0)
    sd = torch.where(sd > SMALLEST_SD, sd, torch.ones_like(sd))
    if mixture:
        model = scans[0].model
        free, (first, last) = model.free, model.tissue_numbers
        mean[:first], sd[:first], mean[last:free], sd[last:free] = 0, SCALE_UNIT, 0, ANGLE_UNIT_RAD
        columns = slice(free, free + free**2)
        mean[columns], sd[columns] = 0, (1 / sd[:free, None] / sd[:free]).flatten()
    return mean, sd


def prior_start(scans: Sequence[Scan], mean: torch.Tensor, sd: torch.Tensor, components: int) -> dict[str, Any]:
    """Where the mixture starts: the distribution of tissue that explains the voxel-wise estimates and their errors."""
    model, (first, last) = scans[0].model, scans[0].model.tissue_numbers
    columns = slice(0, model.free + model.free**2)
    own = torch.cat([scan.features[trainable(scan)[:STANDARDISED_ON], columns] for scan in scans]).double()
    own = (own - mean[columns]) / sd[columns]
    information = own[:, model.free :].unflatten(-1, (model.free, -1))
    # What is not tissue is a nuisance with a standard normal prior: it widens the errors of what is.
    nuisance = torch.ones(model.free, dtype=torch.float64)
    nuisance[first:last] = LOWEST_INFORMATION
    covariance = torch.linalg.inv(information + torch.diag(nuisance))[:, first:last, first:last]
    return deconvolve(own[:, first:last], covariance, components)


def facts_of(scans: Sequence[Scan], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Constants of the training part: mean and spread of the features, the first prior, and the measurements."""
    tokens = torch.cat([scan.tokens(trainable(scan)[:STANDARDISED_ON]).flatten(0, 1) for scan in scans]).double()
    mixture = settings["network"]["design"] == "mixture"
    mean, sd = standardisation(scans, tokens, mixture)
    acquisition = scans[0].voxels.acquisition
    return {
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "prior": prior_start(scans, mean, sd, settings["network"]["components"]) if mixture else {},
        "b_values": acquisition.b_values.tolist(),
        "directions": acquisition.directions.tolist(),
        "counts": acquisition.counts.tolist(),
    }


def acquisition_from(normalisation: Mapping[str, Any]) -> Acquisition:
    """The measurements that :func:`facts_of` wrote down, in single precision."""
    return Acquisition(*(torch.tensor(normalisation[name]) for name in ("b_values", "directions", "counts")))


class VoxelBlocks:
    """Draws blocks of voxels of one scan at a time, for ``training.stream.Samples``.

    Args:
        scans: to draw from, all with the same measurements.
        size: voxels of a block.
    """

    def __init__(self, scans: Sequence[Scan], size: int):
        self.scans, self.size = scans, size
        self.index = [trainable(scan) for scan in scans]

    def __call__(self, generator: np.random.Generator) -> dict[str, torch.Tensor]:
        """One block."""
        number = int(generator.integers(len(self.scans)))
        chosen = self.index[number][torch.from_numpy(generator.integers(len(self.index[number]), size=self.size))]
        return self.scans[number].block(chosen)


class FixedBlocks(Dataset):
    """The first blocks of a stream."""

    def __init__(self, draw: VoxelBlocks, seed: int):
        from scan2map.training.stream import Samples

        samples = Samples(draw, seed)
        self.items = [samples[index] for index in range(VALIDATION_BLOCKS)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.items[index]


def load_scans(paths: Sequence[Path], settings: Mapping[str, Any]) -> list[Scan]:
    """The scans of data-set files to learn from: measured, or simulated, each at the next of the training's SNR."""
    levels = settings["simulation"]["training_snr"] or [settings["simulation"]["snr"]]
    turns = zip(paths, cycle(levels), strict=False)
    return [load_scan(path, merge(settings, {"simulation": {"snr": snr}})) for path, snr in turns]


def tempered(misfit: torch.Tensor) -> torch.Tensor:
    """The misfit up to a limit L, L (1 + ln(misfit/L)) beyond it: the same slope there, then ever less."""
    beyond = LARGEST_MISFIT * (1 + (misfit.clamp_min(LARGEST_MISFIT) / LARGEST_MISFIT).log())
    return torch.where(misfit > LARGEST_MISFIT, beyond, misfit)


def check_loss(loss: Mapping[str, Any]) -> None:
    """Stop at a noise model that there is not.

    Raises:
        SettingError: see above.
    """
    if loss["noise"] not in (*NOISES, SQUARES):
        raise SettingError(
            "There is no such noise model", found=loss["noise"], allowed=f"{', '.join(NOISES)}, {SQUARES}"
        )


class VaeModule(TrainedModule):
    """Trains an :class:`Estimator`.

    Args:
        network: the estimator.
        normalisation: from :func:`facts_of`.
        training: block ``training`` of the model file.
        settings: the system's settings.
    """

    def __init__(self, network: Estimator, normalisation, training: Mapping[str, Any], settings: Mapping[str, Any]):
        super().__init__(network, training)
        check_loss(settings["loss"])
        self.loss_settings = settings["loss"]
        self.acquisition = acquisition_from(normalisation)

    def _kl_weight(self) -> float:
        warmup = self.loss_settings["kl_warmup_steps"]
        rise = min(1.0, self.global_step / warmup) if warmup and self.training else 1.0
        return self.loss_settings["kl_weight"] * rise

    def losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Reconstruction and divergence per voxel, or the error of the parameters where truth teaches."""
        flat = {name: value.flatten(0, 1) for name, value in batch.items()}
        tissue, divergence = self.network.draw(flat["tokens"], flat["frames"])
        if self.loss_settings["supervised"]:
            return {"loss": self._parameter_error(tissue.values, flat["truth"])}
        voxels = Voxels(flat["signals"], flat["sigma"], flat["frames"], self.acquisition.to(flat["signals"].device))
        signal = self.network.model.signal(tissue, voxels)
        parts = {"reconstruction": self._misfit(voxels, signal).mean(), "divergence": divergence.mean()}
        return {"loss": parts["reconstruction"] + self._kl_weight() * parts["divergence"], **parts}

    def _misfit(self, voxels: Voxels, signal: torch.Tensor) -> torch.Tensor:
        if self.loss_settings["noise"] == SQUARES:
            return ((voxels.signals - signal) ** 2).sum(-1)
        return tempered(-likelihood(voxels, self.loss_settings["noise"]).log_probability(signal))

    def _parameter_error(self, values: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        scale = values.new_tensor([parameter.scale for parameter in self.network.model.parameters])
        return (((values - truth) / scale) ** 2)[:, 1:].mean()
