"""The validation protocol: held-out subjects, every member of the package, the scan's own repeatability beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from scan2map.evaluation.model_table import model_table
from scan2map.preprocess.anat.template import load_points
from scan2map.systems.bssfp_dti import metrics
from scan2map.systems.bssfp_dti.cohort import TISSUES
from scan2map.systems.bssfp_dti.losses import own_features
from scan2map.systems.bssfp_dti.orientation import fibre_angle_r2
from scan2map.systems.bssfp_dti.prediction import Translator
from scan2map.training.dataset import load_subject

if TYPE_CHECKING:
    from scan2map.training.package import Package

ATLAS = Path("resources/atlases/lobes.tsv")
FEWEST_VOXELS = 100
MEMBER = "member "


def regions(arrays: Mapping[str, np.ndarray], threshold: float) -> dict[str, np.ndarray]:
    """The brain, its tissues, and the white matter of each region of the atlas, boolean (x, y, z)."""
    mask = arrays["mask"] > 0
    tissues = zip(TISSUES, arrays["tissue"], strict=True)
    found = {"brain": mask} | {name.upper(): mask & (share >= threshold) for name, share in tissues}
    return found | white_matter_regions(found["WM"], arrays["template_mm"])


def white_matter_regions(white: np.ndarray, points_mm: np.ndarray) -> dict[str, np.ndarray]:
    """White matter by the atlas's nearest point, both sides together; regions of too few voxels are left out."""
    points, labels, names = load_points(ATLAS)
    _, nearest = cKDTree(points).query(points_mm[:, white].T)
    side_free = np.array([names[label].removesuffix("_L").removesuffix("_R") for label in labels[nearest]])
    found = {}
    for name in dict.fromkeys(side_free.tolist()):
        region = np.zeros_like(white)
        region[white] = side_free == name
        if region.sum() >= FEWEST_VOXELS:
            found[f"{ATLAS.stem}:{name}"] = region
    return found


def score(
    predicted: np.ndarray, true: np.ndarray, arrays: Mapping[str, np.ndarray], settings: Mapping, constants: Mapping
) -> Iterator[dict[str, Any]]:
    """Rows of one prediction (6, x, y, z) against the truth, region by region.

    Args:
        predicted, true: 1e-3 mm²/s.
        arrays: ``mask``, ``tissue`` of the subject.
        settings: block ``evaluation``.
        constants: element ranges of the training part.
    """
    areas = regions(arrays, settings["tissue_threshold"])
    brain = areas["brain"]
    found, wanted = (metrics.decompose(tensors[:, brain].T) for tensors in (predicted, true))
    for roi, region in areas.items():
        pair = found.within(region[brain]), wanted.within(region[brain])
        errors = list(metrics.tensor_errors(*pair, settings["direction_fa"]))
        errors += metrics.document_errors(pair[0].elements, pair[1].elements, constants)
        count = int(region.sum())
        yield from (
            {"roi": roi, "metric": name, "value": value, "unit": unit, "n": count} for name, value, unit in errors
        )
    smallest = np.linalg.eigvalsh(metrics.tensor_matrix(predicted[:, brain].T))[:, 0]
    common = {"roi": "brain", "n": int(brain.sum()), "unit": "1"}
    yield {**common, "metric": "not_positive_share", "value": float((smallest <= 0).mean())}
    scored = np.isfinite(predicted[:, brain]).all(0)
    yield {**common, "metric": "not_scored_share", "value": float(1 - scored.mean())}
    for name, value, unit in metrics.image_quality(predicted, true, brain):
        yield {**common, "metric": name, "value": value, "unit": unit}


def known_inclination_row(
    predicted: np.ndarray, true: np.ndarray, arrays: Mapping[str, np.ndarray], settings: Mapping
) -> dict[str, Any]:
    """Axial angle in white matter if a signal told the angle of every fibre to B0 without error.

    The azimuth stays that of the prediction: no signal that depends on the angle to B0 alone can tell it.
    """
    white = (arrays["mask"] > 0) & (arrays["tissue"][TISSUES.index("wm")] >= settings["tissue_threshold"])
    found, wanted = (metrics.decompose(tensors[:, white].T) for tensors in (predicted, true))
    directed = wanted.scalars.fa > settings["direction_fa"]
    axes = metrics.with_inclination(found.direction[directed], wanted.direction[directed])
    angle = np.median(metrics.axial_angle_deg(axes, wanted.direction[directed]))
    labels = {"roi": "WM", "metric": "axial_angle", "unit": metrics.ANGLE_UNIT, "method": "known_inclination"}
    return {**labels, "value": float(angle), "n": int(directed.sum())}


def _predictions(
    translators: Sequence[Translator], arrays: Mapping[str, np.ndarray], session: int
) -> Iterator[tuple[str, list[torch.Tensor]]]:
    """Who predicts, and the scaled images that are averaged for it: members, ensemble, the members' priors."""
    scaled = [one.scaled(arrays, session) for one in translators]
    yield from ((f"{MEMBER}{number}", [image]) for number, image in enumerate(scaled))
    yield "ensemble", scaled
    expected = [one.expected(arrays, session) for one in translators]
    if all(one is not None for one in expected):
        yield "prior", expected


def _prediction_rows(translators: Sequence[Translator], arrays: Mapping, protocol: Mapping) -> Iterator[dict[str, Any]]:
    first = translators[0]
    autoencoder = first.modality == "dt"
    features = own_features()
    for session in range(min(protocol["sessions"], len(arrays["tensor" if autoencoder else "bssfp"]))):
        true = arrays["tensor"][session].astype(np.float32) if autoencoder else arrays["truth"]
        wanted = first.representation.encode(torch.from_numpy(true)) * (arrays["mask"] > 0)
        for name, images in _predictions(translators, arrays, session):
            predicted = first.tensors(images, arrays["mask"])
            rows = score(predicted, true, arrays, protocol, first.element_ranges)
            yield from ({**row, "method": name} for row in rows)
            if name == "ensemble":
                yield known_inclination_row(predicted, true, arrays, protocol)
            found = torch.stack(images).mean(0) * (arrays["mask"] > 0)
            distance = metrics.frechet_distance(features(found), features(wanted))
            common = {"roi": "brain", "unit": "1", "n": 0, "method": name}
            yield {**common, "metric": "frechet_own_features", "value": distance}


def _reference_rows(arrays: Mapping, protocol: Mapping, constants: Mapping) -> Iterator[dict[str, Any]]:
    """What the signal itself tells of a fibre, and a diffusion scan against the truth and against another scan."""
    angle = {"roi": "WM", "metric": "fibre_angle_r2", "unit": "1", "method": "signal", "n": 0}
    yield from ({**angle, "value": fibre_angle_r2(arrays, session)} for session in range(len(arrays["bssfp"])))
    scans = list(arrays["tensor"].astype(np.float32))
    pairs = [("scan", scan, arrays["truth"]) for scan in scans] + [("retest", *pair) for pair in pairwise(scans)]
    for name, measured, true in pairs:
        yield from ({**row, "method": name} for row in score(measured, true, arrays, protocol, constants))


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over sessions; members as ``network`` (their mean) and ``seed_sd`` (their standard deviation)."""
    keys = ["method", "roi", "metric", "unit"]
    means = rows.groupby(keys, sort=False, as_index=False).agg({"value": "mean", "n": "first"})
    single = means["method"].str.startswith(MEMBER)
    grouped = means[single].groupby(keys[1:], sort=False, as_index=False)
    parts = [means[~single], grouped.agg({"value": "mean", "n": "first"}).assign(method="network")]
    if means.loc[single, "method"].nunique() > 1:
        parts.append(grouped.agg({"value": "std", "n": "first"}).assign(method="seed_sd"))
    return pd.concat(parts, ignore_index=True)


def evaluate_package(package: Package, test: Sequence[Path], settings: Mapping[str, Any], device: str) -> pd.DataFrame:
    """The long table: mean over sessions of each subject's figures.

    Methods: ``network`` (mean of the members' figures), ``seed_sd`` (their standard deviation), ``ensemble`` (of the
    mean prediction), ``known_inclination`` (its directions, tilted to the true angle to B0), ``prior`` (the mean brain
    that the networks begin from, alone); with ``evaluation.reference`` also ``scan`` (a measured tensor against the
    ideal one), ``retest`` (against a second measured one), ``signal`` (what bSSFP itself tells about the angle of a
    fibre).
    """
    translators = [Translator(member, package.settings, package.normalisation, device) for member in package.members]
    protocol, rows = settings["evaluation"], []
    for path in test[: protocol["subjects"]]:
        subject = path.name.removeprefix("sub-").removesuffix(".safetensors")
        arrays, _ = load_subject(path)
        found = list(_prediction_rows(translators, arrays, protocol))
        if protocol["reference"]:
            found += _reference_rows(arrays, protocol, translators[0].element_ranges)
        rows += [{**row, "subject": subject} for row in summarised(pd.DataFrame(found)).to_dict("records")]
    return model_table(rows)
