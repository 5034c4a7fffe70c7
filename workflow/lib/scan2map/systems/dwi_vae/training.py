"""Self-supervised training on the voxels of scans: how well drawn parameters explain signals, and the divergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from scan2map.errors import SettingError
from scan2map.systems.dwi_vae.estimators import ANGLE_UNIT_RAD, Estimator
from scan2map.systems.dwi_vae.likelihood import NOISES, likelihood
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.scans import Scan
from scan2map.systems.dwi_vae.signal_models import SignalModel
from scan2map.systems.dwi_vae.simulate import CLUSTER_NAMES
from scan2map.systems.dwi_vae.voxels import Acquisition, Voxels
from scan2map.training.module import TrainedModule

VALIDATION_BLOCKS = 32
SMALLEST_SD = 1e-3  # of a feature; a constant one is left unscaled
STANDARDISED_ON = 20_000  # voxels
SQUARES = "squares"
# The kurtosis expansion grows without limit where b D K is large: a misfit above this (nats) counts by its logarithm
# in training, so that single draws do not rule a batch.
LARGEST_MISFIT = 100.0


def trainable(scan: Scan) -> torch.Tensor:
    """Index of the voxels to learn from: all but those outside the paper's clusters."""
    index = torch.arange(len(scan.voxels))
    return index if scan.names != CLUSTER_NAMES else index[scan.label < len(CLUSTER_NAMES) - 1]


def first_centres(estimates: torch.Tensor, components: int) -> list[list[float]]:
    """Where the components of the prior start: k-means of the voxel-wise estimates (n, outputs)."""
    from scipy.cluster.vq import kmeans2

    return kmeans2(estimates.numpy(), components, minit="++", seed=0)[0].tolist()


def with_information(mean: torch.Tensor, sd: torch.Tensor, model: SignalModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Constants with which the information columns become the information in units of the estimates' own constants."""
    mean, sd, free = mean.clone(), sd.clone(), model.free
    sd[len(model.parameters) : free] = ANGLE_UNIT_RAD
    columns = slice(free, free + free**2)
    mean[columns], sd[columns] = 0, (1 / sd[:free, None] / sd[:free]).flatten()
    return mean, sd


def facts_of(scans: Sequence[Scan], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Constants of the training part: mean and spread of the features, first centres, and the measurements."""
    tokens = torch.cat([scan.tokens(trainable(scan)[:STANDARDISED_ON]).flatten(0, 1) for scan in scans])
    known = tokens[tokens[:, -1] > 0][:, :-1].double()
    mean, sd = known.mean(0), known.std(0)
    sd = torch.where(sd > SMALLEST_SD, sd, torch.ones_like(sd))
    if settings["network"]["design"] == "mixture":
        mean, sd = with_information(mean, sd, scans[0].model)
    estimates = ((known - mean) / sd)[:, : scans[0].model.free]
    acquisition = scans[0].voxels.acquisition
    return {
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "centres": first_centres(estimates, settings["network"]["components"]),
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
    """The scans of data set files, measured or simulated."""
    return [load_scan(path, settings) for path in paths]


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
