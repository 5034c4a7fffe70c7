"""From trained networks to parameters with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from scan2map.systems.dwi_vae.estimators import Estimator
from scan2map.systems.dwi_vae.scans import Scan
from scan2map.systems.dwi_vae.signal_models import Tissue

CHUNK = 8192
SEED = 20_411
ENDS = (0.05, 0.95)


class Prediction(NamedTuple):
    """Posterior of n voxels.

    Attributes:
        tissue: mean of the scalars, and the mean axis of the direction.
        standard_deviation: (n, p) of the scalars.
        low, high: (n, p) ends of the central 90 % interval.
        membership: (n, components) of the first network.
        latents: (n, latent) of the first network.
    """

    tissue: Tissue
    standard_deviation: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    membership: torch.Tensor
    latents: torch.Tensor


def _mean_axis(directions: torch.Tensor) -> torch.Tensor:
    """Axis (n, 3) of unit vectors (samples, n, 3) whose signs have no meaning."""
    dyad = torch.einsum("sni,snj->nij", directions, directions)
    return torch.linalg.eigh(dyad)[1][..., -1]


def interval(values: torch.Tensor) -> torch.Tensor:
    """Ends (2, n, p) of the central 90 % interval of samples (samples, n, p).

    The r-th of m samples lies above a share r/(m + 1) of the distribution in the mean (Weibull's positions); shares
    r/m would make intervals of few samples too narrow.
    """
    count = len(values)
    places = [min(max(((count + 1) * end - 1) / (count - 1), 0.0), 1.0) for end in ENDS]
    return values.quantile(values.new_tensor(places), dim=0)


@torch.no_grad()
def _predict_chunk(members: Sequence[Estimator], scan: Scan, index, count: int) -> Prediction:
    device = members[0].mean.device
    block = {name: value.to(device) for name, value in scan.block(index).items()}
    read = [member.read(block["tokens"], block["frames"], count) for member in members]
    drawn = [one for tissues, _ in read for one in tissues]
    values = torch.stack([one.values for one in drawn])
    low, high = interval(values)
    tissue = Tissue(values.mean(0), _mean_axis(torch.stack([one.direction for one in drawn])))
    first = read[0][1]
    parts = (tissue, values.std(0), low, high, first.membership, first.latents)
    return Prediction(Tissue(*(part.cpu() for part in tissue)), *(part.cpu() for part in parts[1:]))


def predict_scan(members: Sequence[Estimator], scan: Scan, count: int, index: torch.Tensor | None = None) -> Prediction:
    """Mean, spread and interval of the parameters by an ensemble.

    Args:
        members: networks, on one device.
        scan: prepared with their settings.
        count: samples of the posterior per network.
        index: of the voxels; all if not given.
    """
    index = torch.arange(len(scan.voxels)) if index is None else index
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        parts = [_predict_chunk(members, scan, chunk, count) for chunk in index.split(CHUNK)]
    tissue = Tissue(*(torch.cat([getattr(part.tissue, name) for part in parts]) for name in Tissue._fields))
    return Prediction(tissue, *(torch.cat([getattr(part, name) for part in parts]) for name in Prediction._fields[1:]))


@torch.no_grad()
def ranks(member: Estimator, scan: Scan, count: int) -> torch.Tensor:
    """Where the truth of each voxel and scalar lies in the posterior, 0 to 1: evenly spread if calibrated (n, p)."""
    parts = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for index in torch.arange(len(scan.voxels)).split(CHUNK):
            block = {name: value.to(member.mean.device) for name, value in scan.block(index).items()}
            drawn, _ = member.read(block["tokens"], block["frames"], count)
            below = sum((one.values < block["truth"]).double() for one in drawn)
            parts.append(((below + 0.5) / (count + 1)).cpu())
    return torch.cat(parts)


@torch.no_grad()
def evidence_bound(member: Estimator, scan: Scan, index: torch.Tensor, noise: str, count: int) -> torch.Tensor:
    """Evidence lower bound of voxels, E_q[ln p(signals | z)] − KL, mean over samples: (n,)."""
    from dataclasses import replace

    from scan2map.systems.dwi_vae.likelihood import likelihood

    block = {name: value.to(member.mean.device) for name, value in scan.block(index).items()}
    voxels = replace(scan.voxels.take(index), **{name: block[name] for name in ("signals", "sigma", "frames")})
    voxels = replace(voxels, acquisition=scan.voxels.acquisition.to(block["signals"]))
    total = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for _ in range(count):
            tissue, divergence = member.draw(block["tokens"], block["frames"])
            total = total + likelihood(voxels, noise).log_probability(member.model.signal(tissue, voxels)) - divergence
    return (total / count).cpu()
