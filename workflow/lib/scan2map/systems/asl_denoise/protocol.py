"""The validation protocol: what a package of this system is put through on held-out subjects.

Each function answers one question on one scan of one subject and yields rows of ``evaluation.model_table``. The method
``network`` is the whole package (mean of its members), ``seed-<n>`` one member, ``single`` the mean figure of
the members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from scan2map.evaluation import agreement
from scan2map.models.guided_denoiser import tissue_regression
from scan2map.systems.asl_denoise.baselines import classical_filters
from scan2map.systems.asl_denoise.kinetics import fit_delays
from scan2map.systems.asl_denoise.labelling import consensus_map
from scan2map.systems.asl_denoise.reference import Average, require_independent
from scan2map.systems.asl_denoise.scenes import Scene, scene_guide
from scan2map.systems.asl_denoise.tiles import denoise

Row = dict[str, Any]
AVERAGING, NETWORK, SINGLE, CLASSICAL, REGRESSION = "averaging", "network", "single", "classical", "regression"
REGRESSION_WIDTH_VOXELS = 1.5
UNIT = "ml/100g/min"


class Scorer(NamedTuple):
    """A package under test.

    Attributes:
        members: its networks by seed.
        settings: the system's settings, with the protocol in ``evaluation``.
    """

    members: Mapping[int, nn.Module]
    settings: Mapping[str, Any]

    @property
    def delays_s(self) -> Sequence[float]:
        """Delays of a model for several; empty for one."""
        return self.settings["simulation"]["delays_s"]

    def denoised(self, noisy: torch.Tensor, scene: Scene) -> dict[str, torch.Tensor]:
        """Estimates of every member and of the package."""
        known = scene.guide, scene.slices.mask
        each = {f"seed-{seed}": denoise(network, noisy, *known) for seed, network in self.members.items()}
        return each | {NETWORK: torch.stack(list(each.values())).mean(0)}


def row(scene: Scene, method: str, condition: str, roi: str, metric: str, value, unit: str, n: int) -> Row:
    """One row of the long table."""
    return {
        "subject": scene.subject, "method": method, "condition": condition, "roi": roi, "metric": metric,
        "value": float(value), "unit": unit, "n": int(n),
    }  # fmt: skip


def psnr(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB: the highest true value over the root mean square error."""
    return 20 * float(np.log10(truth.max() / agreement.root_mean_square_error(estimate, truth)))


def maps_of(scene: Scene, signal: torch.Tensor) -> dict[str, torch.Tensor]:
    """Perfusion of a difference image; with the transit time for several delays."""
    if signal.shape[1] == 1:
        return {"cbf": consensus_map(signal, scene.slices.relative_m0)}
    return dict(zip(("cbf", "att"), fit_delays(signal, scene.slices.relative_m0, scene.slices.labelling), strict=True))


def figures(scene: Scene, signal: torch.Tensor, reference: torch.Tensor) -> Iterator[tuple[str, str, float, str, int]]:
    """Region, metric, value, unit and voxels of everything that is scored of an image."""
    regions = {name: inside.numpy() for name, inside in scene.regions().items()}
    brain, count = regions["brain"], int(regions["brain"].sum())
    everywhere = np.broadcast_to(brain, signal.shape)
    yield "brain", "psnr", psnr(signal.numpy()[everywhere], reference.numpy()[everywhere]), "dB", count
    found, true = ({k: v.numpy() for k, v in maps_of(scene, image).items()} for image in (signal, reference))
    pair = found["cbf"][brain], true["cbf"][brain]
    yield "brain", "cbf_rmse", agreement.root_mean_square_error(*pair), UNIT, count
    yield "brain", "cbf_ccc", agreement.concordance(*pair), "1", count
    for tissue in ("GM", "WM"):
        inside = regions[tissue]
        shift = agreement.bias(found["cbf"][inside], true["cbf"][inside])
        yield tissue, "cbf_bias", shift, UNIT, inside.sum()
        yield tissue, "cbf_bias_size", abs(shift), UNIT, inside.sum()
    if "att" in found:
        inside = regions["GM"]
        error = agreement.root_mean_square_error(found["att"][inside], true["att"][inside])
        yield "GM", "att_rmse", 1000 * error, "ms", inside.sum()


def score(
    scene: Scene, estimates: Mapping[str, torch.Tensor], inputs: Average, reference: Average, condition: str
) -> Iterator[Row]:
    """Score estimates against a reference.

    Args:
        scene: the scan.
        estimates: denoised difference images by method, all made from ``inputs``.
        inputs: the average that they were made from.
        reference: the truth, or an average of other pairs.
        condition: of the rows.

    Raises:
        DataError: the reference shares pairs with the input.
    """
    require_independent(inputs.pairs, reference)
    for method, signal in estimates.items():
        for roi, metric, value, unit, count in figures(scene, signal, reference.image):
            yield row(scene, method, condition, roi, metric, value, unit, count)


def shares(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Averaging, filters and networks on every share of the pairs, against the truth and against the other pairs.

    The filters do not depend on the networks: only a protocol with ``detail`` has them.
    """
    truth, mask, protocol = Average(scene.slices.clean()), scene.slices.mask, scorer.settings["evaluation"]
    for share, average, others in scene.averages(protocol["shares"]):
        condition = f"{scene.acquisition} share={100 * share:g}"
        networks, filters = scorer.denoised(average.image, scene), {}
        if protocol["detail"]:
            filters = classical_filters(average.image, mask, scene.sigma(len(average.pairs)))
            filters[REGRESSION] = tissue_regression(average.image, scene.guide, REGRESSION_WIDTH_VOXELS)
        yield from score(scene, {AVERAGING: average.image, **filters, **networks}, average, truth, condition)
        few = {AVERAGING: average.image, NETWORK: networks[NETWORK]}
        yield from score(scene, few, average, others, f"{condition} other pairs")


def mismatches(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """What training did not show: physiological noise of twice the thermal noise; tissue maps a voxel off."""
    protocol, noise = scorer.settings["evaluation"], scene.noise
    off = scene_guide(scene.slices, protocol, scene.seed, protocol["voxel_size_mm"][0])
    changed = {
        "strong physiological noise": scene._replace(noise=noise._replace(physiological=noise.physiological * 5)),
        "tissue maps a voxel off": scene._replace(guide=off),
    }
    truth, pairs = Average(scene.slices.clean()), len(scene.subset(0.4))
    for name, other in changed.items():
        image = other.average_of(pairs, 0)
        estimates = {AVERAGING: image, NETWORK: scorer.denoised(image, other)[NETWORK]}
        yield from score(other, estimates, Average(image), truth, f"{scene.acquisition} {name}")
