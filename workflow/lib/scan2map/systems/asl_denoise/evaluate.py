"""The whole validation protocol on held-out subjects, as one long table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from scan2map.evaluation.model_table import model_table
from scan2map.systems.asl_denoise.detail import edges, lesions
from scan2map.systems.asl_denoise.protocol import CLASSICAL, SINGLE, Scorer, mismatches, shares
from scan2map.systems.asl_denoise.scenes import build_scenes

if TYPE_CHECKING:
    from scan2map.training.package import Package

LOGGER = logging.getLogger("scan2map")
FILTERS = ("gaussian06", "gaussian10", "nlm", "tv")
KEYS = ["subject", "variant", "condition", "roi", "metric", "unit"]
BEST = {"psnr": "max", "cbf_ccc": "max", "cbf_rmse": "min"}


def scorer_of(package: Package, settings: Mapping[str, Any]) -> Scorer:
    """A package under the protocol of these settings."""
    members = dict(zip(package.config["seeds"], package.members, strict=True))
    return Scorer(members, package.judged_by(settings))


def _summarised(rows: pd.DataFrame, method: str, how: str) -> pd.DataFrame:
    grouped = rows.groupby(KEYS, sort=False).agg({"value": how, "n": "first"}).reset_index()
    return grouped.assign(method=method)


def with_summaries(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the mean over members, the best filter of each scan (an oracle's choice), and means over shares.

    The mean over shares has the acquisition's name as its condition.
    """
    members = _summarised(table[table["method"].str.startswith("seed-")], SINGLE, "mean")
    filters = table[table["method"].isin(FILTERS)]
    best = [_summarised(filters[filters["metric"] == metric], CLASSICAL, how) for metric, how in BEST.items()]
    table = pd.concat([table, members, *best], ignore_index=True)
    scored = table[table["condition"].str.match(r"^\w+ share=\S+( other pairs)?$")].copy()
    scored["condition"] = scored["condition"].str.replace(r" share=\S+", "", regex=True)
    means = scored.groupby([*KEYS, "method"], sort=False).agg({"value": "mean", "n": "first"}).reset_index()
    return model_table(pd.concat([table, means], ignore_index=True).to_dict("records"))


def evaluate_package(package: Package, test: Sequence[Path], settings: Mapping[str, Any], device: str) -> pd.DataFrame:
    """Put a package through every experiment on every held-out subject.

    Args:
        package: of this system.
        test: data-set files of the subjects.
        settings: the system's settings.
        device: where the package was loaded; images stay on the CPU.

    Returns:
        Rows of ``evaluation.model_table``.
    """
    scorer, rows = scorer_of(package, settings), []
    detailed = settings["evaluation"]["detail"] and not scorer.delays_s
    experiments = [shares, mismatches, lesions, edges] if detailed else [shares]
    for scene in build_scenes(test, settings["evaluation"], scorer.delays_s):
        for experiment in experiments:
            rows += experiment(scorer, scene)
        LOGGER.info("scored subject %s, %s", scene.subject, scene.acquisition)
    return with_summaries(model_table(rows))
