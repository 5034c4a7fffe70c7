"""The validation protocol: held-out subjects, every member of the package, the scan's own repeatability beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scan2map.evaluation.model_table import model_table
from scan2map.systems.bssfp_dti import metrics
from scan2map.systems.bssfp_dti.cohort import TISSUES
from scan2map.systems.bssfp_dti.orientation import fibre_angle_r2
from scan2map.systems.bssfp_dti.prediction import Translator
from scan2map.training.dataset import load_subject

if TYPE_CHECKING:
    from scan2map.training.package import Package


def regions(arrays: Mapping[str, np.ndarray], threshold: float) -> dict[str, np.ndarray]:
    """The brain and its tissues, boolean (x, y, z)."""
    mask = arrays["mask"] > 0
    tissues = zip(TISSUES, arrays["tissue"], strict=True)
    return {"brain": mask} | {name.upper(): mask & (share >= threshold) for name, share in tissues}


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
    for roi, region in areas.items():
        pair = predicted[:, region].T, true[:, region].T
        count = int(region.sum())
        for name, value, unit in metrics.tensor_errors(*pair, settings["direction_fa"]):
            yield {"roi": roi, "metric": name, "value": value, "unit": unit, "n": count}
        for name, value, unit in metrics.document_errors(*pair, constants):
            yield {"roi": roi, "metric": name, "value": value, "unit": unit, "n": count}
    brain = areas["brain"]
    smallest = np.linalg.eigvalsh(metrics.tensor_matrix(predicted[:, brain].T))[:, 0]
    common = {"roi": "brain", "n": int(brain.sum()), "unit": "1"}
    yield {**common, "metric": "not_positive_share", "value": float((smallest <= 0).mean())}
    scored = np.isfinite(predicted[:, brain]).all(0)
    yield {**common, "metric": "not_scored_share", "value": float(1 - scored.mean())}
    for name, value, unit in metrics.image_quality(predicted, true, brain):
        yield {**common, "metric": name, "value": value, "unit": unit}


def _subject_rows(translators: Sequence[Translator], arrays: Mapping, settings: Mapping) -> Iterator[dict[str, Any]]:
    """Every member on every scored session, then their ensemble, then a second scan of the tensor itself."""
    first, protocol = translators[0], settings["evaluation"]
    autoencoder = first.modality == "dt"
    for session in range(min(protocol["sessions"], len(arrays["tensor" if autoencoder else "bssfp"]))):
        true = arrays["tensor"][session].astype(np.float32) if autoencoder else arrays["truth"]
        scaled = [one.scaled(arrays, session) for one in translators]
        for name, images in (*(("network", [one]) for one in scaled), ("ensemble", scaled)):
            predicted = first.tensors(images, arrays["mask"])
            rows = score(predicted, true, arrays, protocol, first.element_ranges)
            yield from ({**row, "method": name} for row in rows)
    angle = {"roi": "WM", "metric": "fibre_angle_r2", "unit": "1", "method": "signal", "n": 0}
    yield from ({**angle, "value": fibre_angle_r2(arrays, session)} for session in range(len(arrays["bssfp"])))
    for measured in arrays["tensor"].astype(np.float32):
        rows = score(measured, arrays["truth"], arrays, protocol, first.element_ranges)
        yield from ({**row, "method": "scan"} for row in rows)


def evaluate_package(package: Package, test: Sequence[Path], settings: Mapping[str, Any], device: str) -> pd.DataFrame:
    """The long table: mean over sessions (and members) of each subject's figures.

    Methods: ``network`` (members one by one), ``ensemble``, ``scan`` (a measured tensor against the ideal one: what a
    diffusion scan of the training's kind reaches), ``signal`` (what bSSFP itself tells about the angle of a fibre).
    """
    translators = [Translator(member, package.settings, package.normalisation, device) for member in package.members]
    rows = []
    for path in test:
        subject = path.name.removeprefix("sub-").removesuffix(".safetensors")
        arrays, _ = load_subject(path)
        found = pd.DataFrame(
            _subject_rows(translators, arrays, {**package.settings, "evaluation": settings["evaluation"]})
        )
        keys = ["method", "roi", "metric", "unit"]
        means = found.groupby(keys, sort=False, as_index=False).agg({"value": "mean", "n": "first"})
        rows += [{**row, "subject": subject} for row in means.to_dict("records")]
    return model_table(rows)
