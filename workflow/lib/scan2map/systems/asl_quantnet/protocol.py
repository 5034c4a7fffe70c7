"""The validation protocol: what a package of this system is put through on held-out subjects.

Each function scores one question on one subject and yields rows of ``evaluation.model_table``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from scan2map.systems.asl_quantnet.baselines import least_squares, regularised_least_squares
from scan2map.systems.asl_quantnet.bounds import cramer_rao_variance
from scan2map.systems.asl_quantnet.estimators import Estimator
from scan2map.systems.asl_quantnet.prediction import Prediction, predict_ensemble
from scan2map.systems.asl_quantnet.scenes import Scene, randomised
from scan2map.systems.asl_quantnet.simulator import Batch

Row = dict[str, Any]
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
QUIET_SNR = 10.0  # for questions about amplitude and tissue mix
MISMATCH_SNR = 10.0
NORMAL_90, NORMAL_50 = 1.6449, 0.6745
BOUND_CBF, BOUND_ATT_S = 250.0, 4.0  # a bound beyond these says no more than the limits of the fit
MS = 1000.0


class Scorer(NamedTuple):
    """A package under test.

    Attributes:
        members: its networks.
        settings: the system's settings.
    """

    members: Sequence[Estimator]
    settings: Mapping[str, Any]

    @property
    def convention(self) -> str:
        """Kinetic model that the networks were trained for."""
        return self.settings["simulation"]["convention"]

    def predict(self, scan: Batch) -> Prediction:
        """The ensemble's estimate of a scan."""
        return predict_ensemble(self.members, scan.difference, scan.mask, scan.labelling)

    def scan(self, scene: Scene, snr_gm: float, repeat: int = 0) -> Batch:
        """A scan of a scene under the networks' kinetic model."""
        return scene.measured(snr_gm, repeat, self.convention)


def row(scene: Scene, method: str, condition: str, roi: str, metric: str, value, unit: str, n: int) -> Row:
    """One row of the long table."""
    return {
        "subject": scene.subject, "method": method, "condition": condition, "roi": roi, "metric": metric,
        "value": float(value), "unit": unit, "n": int(n),
    }  # fmt: skip


def rmse(error: torch.Tensor) -> float:
    """Root mean square."""
    return float(error.square().mean().sqrt())


def determination(estimate: torch.Tensor, truth: torch.Tensor) -> float:
    """R² = 1 − Σ(estimate − truth)² / Σ(truth − mean)²."""
    return float(1 - (estimate - truth).square().sum() / (truth - truth.mean()).square().sum())


def accuracy(scene: Scene, scan: Batch, maps, method: str, condition: str) -> Iterator[Row]:
    """Errors of perfusion and transit time, by region, and the ratio of grey to white matter over its true value."""
    regions = scene.regions()
    for roi, inside in regions.items():
        count = inside.sum()
        cbf_error, att_error = (maps.cbf - scan.cbf)[inside], (maps.att_s - scan.att_s)[inside] * MS
        yield row(scene, method, condition, roi, "cbf_rmse", rmse(cbf_error), "ml/100g/min", count)
        yield row(scene, method, condition, roi, "cbf_bias", cbf_error.mean(), "ml/100g/min", count)
        yield row(scene, method, condition, roi, "cbf_bias_size", cbf_error.mean().abs(), "ml/100g/min", count)
        yield row(scene, method, condition, roi, "cbf_mean", maps.cbf[inside].mean(), "ml/100g/min", count)
        yield row(scene, method, condition, roi, "cbf_sd", maps.cbf[inside].std(), "ml/100g/min", count)
        yield row(scene, method, condition, roi, "att_rmse", rmse(att_error), "ms", count)
        yield row(scene, method, condition, roi, "att_bias", att_error.mean(), "ms", count)
        yield row(scene, method, condition, roi, "att_mean", maps.att_s[inside].mean() * MS, "ms", count)
        yield row(
            scene, method, condition, roi, "att_r2", determination(maps.att_s[inside], scan.att_s[inside]), "1", count
        )
    inside = regions["tissue"]
    yield row(
        scene,
        method,
        condition,
        "tissue",
        "cbf_r2",
        determination(maps.cbf[inside], scan.cbf[inside]),
        "1",
        inside.sum(),
    )
    ratio = _contrast(maps.cbf, regions) / _contrast(scan.cbf, regions)
    yield row(scene, method, condition, "tissue", "gm_wm_ratio", _contrast(maps.cbf, regions), "1", inside.sum())
    yield row(scene, method, condition, "tissue", "gm_wm_ratio_error", (ratio - 1).abs(), "1", inside.sum())


def _contrast(cbf: torch.Tensor, regions: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return cbf[regions["GM"]].mean() / cbf[regions["WM"]].mean()


def matched_noise(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Network, least squares, regularised least squares and the Cramér-Rao bound over noise levels."""
    for snr_gm in scorer.settings["evaluation"]["snr_gm"]:
        condition, scan = f"snr={snr_gm:g}", scorer.scan(scene, snr_gm)
        given = (scan.difference, scan.mask, scan.labelling, scene.delays, scorer.convention)
        found = scorer.predict(scan)
        yield from accuracy(scene, scan, found, "network", condition)
        yield from accuracy(scene, scan, least_squares(*given), "ls", condition)
        yield from accuracy(scene, scan, regularised_least_squares(*given), "ls_spatial", condition)
        yield from accuracy(scene, scan, scan, "truth", condition)
        yield from bound_rows(scorer, scene, scan, condition)
        yield from coverage(scene, scan, found, condition)


def bound_rows(scorer: Scorer, scene: Scene, scan: Batch, condition: str) -> Iterator[Row]:
    """Root mean square of the Cramér-Rao standard deviations, cut where they exceed the limits of the fit."""
    variances = cramer_rao_variance(
        scan.cbf.clamp_min(1.0), scan.att_s, scan.labelling, scene.delays, scan.sigma, scorer.convention
    )
    for roi, inside in scene.regions().items():
        cbf, att = (value[inside].sqrt() for value in variances)
        yield row(
            scene, "bound", condition, roi, "cbf_rmse", rmse(cbf.clamp_max(BOUND_CBF)), "ml/100g/min", inside.sum()
        )
        yield row(scene, "bound", condition, roi, "att_rmse", rmse(att.clamp_max(BOUND_ATT_S)) * MS, "ms", inside.sum())


def coverage(scene: Scene, scan: Batch, found: Prediction, condition: str) -> Iterator[Row]:
    """Share of voxels whose truth lies in the central 50 % and 90 % interval of the prediction."""
    inside = scene.regions()["tissue"]
    scaled = {
        "cbf": ((found.cbf - scan.cbf) / found.sd_cbf.clamp_min(1e-6))[inside].abs(),
        "att": ((found.att_s - scan.att_s) / found.sd_att_s.clamp_min(1e-6))[inside].abs(),
    }
    for name, distance in scaled.items():
        for level, limit in (("50", NORMAL_50), ("90", NORMAL_90)):
            share = (distance < limit).float().mean()
            yield row(scene, "network", condition, "tissue", f"{name}_coverage_{level}", share, "1", inside.sum())


def linearity(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """The same scan multiplied by known factors: log-log slope of mean perfusion, largest change of transit time."""
    scan = scorer.scan(scene, QUIET_SNR)
    found = [scorer.predict(scan._replace(difference=scan.difference * scale)) for scale in SCALES]
    logs = torch.tensor(SCALES).log()
    for roi in ("GM", "WM"):
        inside = scene.regions()[roi]
        means = torch.stack([one.cbf[inside].mean() for one in found]).cpu()
        for scale, mean in zip(SCALES, means, strict=True):
            yield row(scene, "network", f"scale={scale:g}", roi, "cbf_mean", mean, "ml/100g/min", inside.sum())
        centred = logs - logs.mean()
        slope = (centred * means.log()).sum() / centred.square().sum()
        yield row(scene, "network", "linearity", roi, "cbf_slope", slope, "1", inside.sum())
        yield row(scene, "network", "linearity", roi, "cbf_slope_size", slope.abs(), "1", inside.sum())
        yield row(scene, "network", "linearity", roi, "cbf_slope_error", (slope - 1).abs(), "1", inside.sum())
        times = torch.stack([one.att_s[inside].mean() for one in found])
        change = (times / times[SCALES.index(1.0)] - 1).abs().max()
        yield row(scene, "network", "linearity", roi, "att_change", change, "1", inside.sum())


def tissue_mix(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Perfusion of unchanged voxels after half of the brain, or all but white matter, is taken away."""
    scan = scorer.scan(scene, QUIET_SNR)
    whole = scorer.predict(scan).cbf
    half = torch.zeros_like(scan.mask)
    half[..., : half.shape[-1] // 2] = 1
    for name, kept in (("half", half), ("white_matter", scene.regions()["WM"].float())):
        rest = scorer.predict(scan._replace(difference=scan.difference * kept, mask=scan.mask * kept)).cbf
        inside = scene.regions()["tissue"] & (kept > 0)
        mean = whole[inside].mean()
        yield row(
            scene, "network", name, "tissue", "cbf_shift", (rest[inside].mean() / mean - 1).abs(), "1", inside.sum()
        )
        change = (rest - whole)[inside].abs().mean() / mean
        yield row(scene, "network", name, "tissue", "cbf_change", change, "1", inside.sum())


def mismatch(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Label parameters that vary between scans, told and hidden; and signals of the other kinetic model."""
    varied = randomised(scene, scorer.settings)
    scan = scorer.scan(varied, MISMATCH_SNR)
    usual = scan._replace(labelling=scene.slices.labelling._replace(delay_offset_s=scan.labelling.delay_offset_s))
    for condition, given in (("labels_given", scan), ("labels_hidden", usual)):
        found = least_squares(given.difference, given.mask, given.labelling, scene.delays, scorer.convention)
        yield from accuracy(scene, scan, scorer.predict(given), "network", condition)
        yield from accuracy(scene, scan, found, "ls", condition)
    other = "tissue_t1" if scorer.convention == "blood_t1" else "blood_t1"
    scan = scene.measured(QUIET_SNR, 0, other)
    yield from accuracy(scene, scan, scorer.predict(scan), "network", f"signals_{other}")
    found = least_squares(scan.difference, scan.mask, scan.labelling, scene.delays, scorer.convention)
    yield from accuracy(scene, scan, found, "ls", f"signals_{other}")
