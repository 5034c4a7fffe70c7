"""The validation protocol: every method on scans of held-out subjects, and the networks' own claims put to the test."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch

from scan2map.config import merge
from scan2map.evaluation.model_table import model_table
from scan2map.systems.dwi_vae.baselines import dipy_of_averages
from scan2map.systems.dwi_vae.detail import detail_rows
from scan2map.systems.dwi_vae.estimators import Estimator
from scan2map.systems.dwi_vae.identifiability import beyond_validity
from scan2map.systems.dwi_vae.least_squares import fit_voxels
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.own_scan import fit_own_scan
from scan2map.systems.dwi_vae.prediction import Prediction, evidence_bound, predict_scan
from scan2map.systems.dwi_vae.scans import Scan
from scan2map.systems.dwi_vae.signal_models import Tissue
from scan2map.systems.dwi_vae.training import SQUARES, trainable

if TYPE_CHECKING:
    from scan2map.training.package import Package

LOGGER = logging.getLogger("scan2map")
Row = dict[str, Any]
FEWEST_VOXELS = 15  # of a group that is scored
FEWEST_MEMBERS = 0.01  # share of the voxels from which on a component counts as alive
BOUND_VOXELS, BOUND_SAMPLES = 2000, 8
MISMATCH_SNR = 20.0
NOT_PURE = ("mixed", "outside", "lesion")
ORACLE_STARTS = 5
DIRECTION_FRACTION = 0.2  # a direction is scored where the true stick fraction is above this


class Subject(NamedTuple):
    """A held-out subject scanned once."""

    name: str
    scan: Scan
    condition: str


def row(subject: Subject, method: str, roi: str, metric: str, value, unit: str, n: int) -> Row:
    """One row of the long table."""
    names = {"subject": subject.name, "method": method, "condition": subject.condition, "roi": roi, "metric": metric}
    return {**names, "value": float(value), "unit": unit, "n": int(n)}


def groups(scan: Scan) -> dict[str, torch.Tensor]:
    """Voxels by group, and ``tissue``: all groups but free water and those outside the clusters."""
    found = {name: scan.label == number for number, name in enumerate(scan.names)}
    found["tissue"] = torch.stack([found[name] for name in ("first", "second", "GM", "WM") if name in found]).any(0)
    return {name: inside for name, inside in found.items() if inside.sum() >= FEWEST_VOXELS}


def accuracy(subject: Subject, method: str, tissue: Tissue) -> Iterator[Row]:
    """Mean squared error of each parameter, in units of its scale (µm²/ms for diffusivities), and its two parts."""
    scan = subject.scan
    for column, parameter in list(enumerate(scan.model.parameters))[1:]:
        unit = "(µm²/ms)²" if parameter.unit == "mm^2/s" else "1"
        error = (tissue.values[:, column].double() - scan.truth.values[:, column]) / parameter.scale
        for roi, inside in groups(scan).items():
            some = error[inside]
            parts = {"mse": some.square().mean(), "bias": some.mean(), "variance": some.var(unbiased=False)}
            for name, value in parts.items():
                one = unit.strip("()²") if name == "bias" else unit
                yield row(subject, method, roi, f"{parameter.name}_{name}", value, one, len(some))
    if scan.model.directional:
        yield from _angles(subject, method, tissue)


def _angles(subject: Subject, method: str, tissue: Tissue) -> Iterator[Row]:
    scan = subject.scan
    cosine = (tissue.direction.double() * scan.truth.direction).sum(-1).abs().clamp(max=1)
    fibre = scan.truth.values[:, 1] > DIRECTION_FRACTION
    for roi, inside in groups(scan).items():
        some = cosine[inside & fibre]
        if len(some) >= FEWEST_VOXELS:
            yield row(subject, method, roi, "angle_median", some.arccos().rad2deg().median(), "deg", len(some))


def calibration(subject: Subject, method: str, found: Prediction) -> Iterator[Row]:
    """Share of voxels whose true parameter lies in the central 90 % interval."""
    scan = subject.scan
    inside_interval = (found.low <= scan.truth.values) & (scan.truth.values <= found.high)
    for column, parameter in list(enumerate(scan.model.parameters))[1:]:
        for roi, inside in groups(scan).items():
            share = inside_interval[inside, column].double().mean()
            yield row(subject, method, roi, f"{parameter.name}_coverage_90", share, "1", inside.sum())


def clustering(subject: Subject, method: str, found: Prediction) -> Iterator[Row]:
    """Agreement of the mixture with the true groups (adjusted Rand index), and how many components are alive."""
    component = found.membership.argmax(-1)
    yield _agreement(subject, method, component)
    shares = torch.bincount(component, minlength=found.membership.shape[1]).double() / len(component)
    yield row(subject, method, "brain", "components_alive", (shares > FEWEST_MEMBERS).sum(), "count", len(component))


def _agreement(subject: Subject, method: str, component: torch.Tensor) -> Row:
    from sklearn.metrics import adjusted_rand_score

    scan = subject.scan
    pure = torch.stack([scan.label == number for number, name in enumerate(scan.names) if name not in NOT_PURE]).any(0)
    index = adjusted_rand_score(scan.label[pure].numpy(), component[pure].numpy())
    return row(subject, method, "pure", "adjusted_rand_index", index, "1", pure.sum())


def oracle_mixture(subject: Subject, components: int) -> Row:
    """What a mixture that is fitted to the true parameters of all voxels reaches: no network can know more."""
    from sklearn.mixture import GaussianMixture

    values, learned = subject.scan.truth.values[:, 1:], trainable(subject.scan)
    scaled = (values / values[learned].std(0)).numpy()
    mixture = GaussianMixture(components, n_init=ORACLE_STARTS, random_state=0).fit(scaled[learned.numpy()])
    return _agreement(subject, "oracle", torch.from_numpy(mixture.predict(scaled)))


def bound(subject: Subject, method: str, member: Estimator, noise: str) -> Iterator[Row]:
    """Evidence lower bound per voxel, which chooses the number of components."""
    index = trainable(subject.scan)[:BOUND_VOXELS]
    value = evidence_bound(member, subject.scan, index, noise, BOUND_SAMPLES).mean()
    yield row(subject, method, "brain", "evidence_bound", value, "nat", len(index))


def classical(subject: Subject) -> Iterator[Row]:
    """Voxel-wise fits: weighted least squares, maximum likelihood, dipy; how many voxels lie beyond the expansion."""
    scan = subject.scan
    start = time.perf_counter()
    squares = fit_voxels(scan.model, scan.voxels, "gaussian")
    yield from _timed(subject, "nlls", squares.tissue, start)
    yield from accuracy(subject, "mle", scan.fit.tissue)
    if scan.model.name == "msdki":
        start = time.perf_counter()
        yield from _timed(subject, "dipy", dipy_of_averages(scan.voxels), start)
        share = beyond_validity(scan.model, scan.voxels.acquisition, scan.fit.tissue).double().mean()
        yield row(subject, "mle", "brain", "beyond_validity", share, "1", len(scan.voxels))


def _timed(subject: Subject, method: str, tissue: Tissue, start: float) -> Iterator[Row]:
    elapsed, count = time.perf_counter() - start, len(tissue.values)
    yield from accuracy(subject, method, tissue)
    yield row(subject, method, "brain", "time_per_100000", 1e5 * elapsed / count, "s", count)


def network_rows(subject: Subject, method: str, member: Estimator, settings: Mapping[str, Any]) -> Iterator[Row]:
    """One network: accuracy, calibration, mixture, evidence bound and time."""
    start = time.perf_counter()
    found = predict_scan([member], subject.scan, settings["evaluation"]["samples"])
    elapsed, count = time.perf_counter() - start, len(subject.scan.voxels)
    yield from accuracy(subject, method, found.tissue)
    yield row(subject, method, "brain", "time_per_100000", 1e5 * elapsed / count, "s", count)
    if settings["network"]["design"] == "plain":
        return
    yield from calibration(subject, method, found)
    yield from clustering(subject, method, found)
    noise = settings["loss"]["noise"]
    if noise != SQUARES:
        yield from bound(subject, method, member, noise)


def over_seeds(parts: Iterable[Iterable[Row]]) -> Iterator[Row]:
    """Rows of several networks as their means, and the spread of the squared errors between networks."""
    parts = [list(part) for part in parts]
    for same in zip(*parts, strict=True):
        values = [one["value"] for one in same]
        yield {**same[0], "value": fmean(values)}
        if same[0]["metric"].endswith("_mse") and len(values) > 1:
            yield {**same[0], "metric": f"{same[0]['metric']}_seed_sd", "value": stdev(values)}


def evaluate_package(package: Package, test: Sequence[Path], settings: Mapping[str, Any], device: str) -> pd.DataFrame:
    """The whole protocol.

    Args:
        package: its networks were fitted to the training subjects' scans; they are scored as ``network``. Where
            ``evaluation.own_scan_snr`` says so networks are also fitted to each test scan itself: ``own_scan``.
        test: data-set files of held-out subjects.
        settings: the system's settings (block ``evaluation``).
        device: ``cpu`` or ``cuda``.

    Returns:
        Rows of ``evaluation.model_table``.
    """
    recipe = (package.config["training"], {**package.config["compute"], "device": device}, package.config["seeds"])
    trained = package.judged_by(settings)
    # The shared code scores without gradients; a fit to a scan needs them.
    with torch.inference_mode(mode=False), torch.enable_grad():
        return evaluate_members(package.members, test, trained, recipe)


def evaluate_members(
    members: Sequence[Estimator], test: Sequence[Path], settings: Mapping[str, Any], recipe: tuple
) -> pd.DataFrame:
    """The protocol for given networks: every number is the mean over them.

    Args:
        members: the networks.
        test: data-set files.
        settings: the system's settings.
        recipe: training, compute and seeds for fits to each test scan.
    """
    rows: list[Row] = []
    for path in test[: settings["evaluation"]["subjects"]]:
        for source, snr in conditions(settings):
            changed = merge(settings, {"simulation": {"source": source, "snr": snr}})
            rows += _score_scan(members, path, changed, recipe)
        if settings["evaluation"]["detail"]:
            rows += detail_rows(members, path, settings)
        LOGGER.info("scored subject %s", Path(path).stem)
    return model_table(rows)


def conditions(settings: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Source and signal-to-noise ratio of what is scored: the source that was learned from, and unknown physics."""
    source = settings["simulation"]["source"]
    matched = [(source, snr) for snr in settings["evaluation"]["snr"]]
    return matched + [("compartments", MISMATCH_SNR)] * settings["evaluation"]["mismatch"]


def _score_scan(members: Sequence[Estimator], path: Path, settings: Mapping[str, Any], recipe: tuple) -> list[Row]:
    simulation = settings["simulation"]
    subject = Subject(Path(path).stem, load_scan(path, settings), f"{simulation['source']}:snr={simulation['snr']:g}")
    rows = [*classical(subject), oracle_mixture(subject, settings["network"]["components"])]
    rows += over_seeds(network_rows(subject, "network", one, settings) for one in members)
    own = simulation["snr"] in settings["evaluation"]["own_scan_snr"] and not settings["loss"]["supervised"]
    if own and not subject.condition.startswith("compartments"):
        rows += _own_rows(subject, path, settings, recipe)
    return rows


def _own_rows(subject: Subject, path: Path, settings: Mapping[str, Any], recipe: tuple) -> list[Row]:
    training, compute, seeds = recipe
    bare = {key: value for key, value in settings.items() if key != "evaluation"}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        members = [fit_own_scan(path, bare, training, compute, seed, Path(folder)) for seed in seeds]
        elapsed, count = (time.perf_counter() - start) / len(seeds), len(subject.scan.voxels)
    rows = list(over_seeds(network_rows(subject, "own_scan", one, settings) for one in members))
    return [*rows, row(subject, "own_scan", "brain", "fit_time_per_100000", 1e5 * elapsed / count, "s", count)]
