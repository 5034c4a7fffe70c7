"""Network and least squares on a simulated session that went the whole way: DICOM, BIDS, motion, registration, M0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from scan2map.evaluation.grids import on_grid
from scan2map.evaluation.long_table import write_table
from scan2map.evaluation.model_table import model_table
from scan2map.images import load_image
from scan2map.systems.asl_quantnet import MAPS
from scan2map.training.predict import map_name

METHODS = {"network": ("cbf", "att"), "ls": ("cbf_ls", "att_ls")}
TISSUES = ("GM", "WM")
CONDITION = "rail"
MS = 1000.0
PERFUSED_CBF = 5.0  # below it, the true transit time has no meaning, ml/100g/min


def _predicted(folder, subject: str, session: str) -> dict[str, np.ndarray]:
    return {one.name: load_image(Path(folder) / map_name(one, subject, session)).data for one in MAPS}


def regions(tissues: Mapping[str, np.ndarray], measured: np.ndarray, truth: np.ndarray, threshold: float):
    """Measured voxels of nearly pure tissue with true perfusion, by name; ``tissue`` is both kinds together."""
    inside = measured & (truth > PERFUSED_CBF)
    found = {name: inside & (tissues[name] >= threshold) for name in TISSUES}
    return {**found, "tissue": inside & (sum(tissues[name] for name in TISSUES) >= threshold)}


def error_rows(maps: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], where: Mapping[str, np.ndarray]):
    """Errors of both methods against the truth, by region.

    Args:
        maps: predicted maps by name.
        truth: ``cbf`` (ml/100g/min) and ``att`` (s) on the same grid.
        where: from :func:`regions`.
    """
    for method, (cbf, att) in METHODS.items():
        for roi, inside in where.items():
            flow, time = (maps[cbf] - truth["cbf"])[inside], (maps[att] - truth["att"])[inside] * MS
            yield method, roi, "cbf_rmse", np.sqrt(np.mean(flow**2)), "ml/100g/min", inside
            yield method, roi, "cbf_bias", flow.mean(), "ml/100g/min", inside
            yield method, roi, "cbf_bias_size", abs(flow.mean()), "ml/100g/min", inside
            yield method, roi, "att_rmse", np.sqrt(np.mean(time**2)), "ms", inside
            yield method, roi, "att_bias", time.mean(), "ms", inside
        ratio = _contrast(maps[cbf], where) / _contrast(truth["cbf"], where)
        yield method, "tissue", "gm_wm_ratio_error", abs(ratio - 1), "1", where["tissue"]


def agreement_rows(maps: Mapping[str, np.ndarray], where: Mapping[str, np.ndarray]):
    """Network against least squares: mean difference, limits of agreement, correlation (Bland and Altman 1986)."""
    for roi, inside in where.items():
        difference = (maps["cbf"] - maps["cbf_ls"])[inside]
        yield "network", roi, "cbf_minus_ls", difference.mean(), "ml/100g/min", inside
        yield "network", roi, "cbf_limits_of_agreement", 1.96 * difference.std(ddof=1), "ml/100g/min", inside
        correlation = np.corrcoef(maps["cbf"][inside], maps["cbf_ls"][inside])[0, 1]
        yield "network", roi, "cbf_correlation_with_ls", correlation, "1", inside


def _contrast(cbf: np.ndarray, where: Mapping[str, np.ndarray]) -> float:
    return float(cbf[where["GM"]].mean() / cbf[where["WM"]].mean())


def compare_rail(folder, truth: Mapping[str, str], out, *, subject: str, session: str, threshold: float) -> None:
    """Write the rows of one session (columns of ``evaluation.model_table``; the subject is the session's).

    Args:
        folder: predicted maps of the session.
        truth: files ``cbf``, ``att``, ``GM``, ``WM`` of the simulated session.
        out: the table.
        subject, session: labels.
        threshold: share of a tissue from which on a voxel belongs to it.
    """
    maps = _predicted(folder, subject, session)
    grid = load_image(Path(folder) / map_name(MAPS[0], subject, session))
    true = {name: on_grid(load_image(path), grid).data for name, path in truth.items()}
    where = regions(true, maps["cbf_ls"] > 0, true["cbf"], threshold)
    write_table(model_table(_named(maps, true, where, subject)), out)


def _named(maps, true, where, subject: str) -> Iterator[dict]:
    for method, roi, metric, value, unit, inside in (*error_rows(maps, true, where), *agreement_rows(maps, where)):
        yield {
            "subject": subject, "method": method, "condition": CONDITION, "roi": roi, "metric": metric,
            "value": float(value), "unit": unit, "n": int(inside.sum()),
        }  # fmt: skip
