"""The whole validation protocol on held-out subjects, as one long table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scan2map.evaluation.model_table import model_table
from scan2map.systems.asl_quantnet.detail import edges, lesions
from scan2map.systems.asl_quantnet.estimators import Estimator
from scan2map.systems.asl_quantnet.protocol import Scorer, linearity, matched_noise, mismatch, tissue_mix
from scan2map.systems.asl_quantnet.scenes import build_scenes

LOGGER = logging.getLogger("scan2map")
EXPERIMENTS = (matched_noise, linearity, tissue_mix, mismatch, lesions, edges)


def pooled_determination(table: pd.DataFrame) -> pd.DataFrame:
    """R² of perfusion against the variance of the truth over all subjects: 1 − error² / variance, one row per subject.

    Within one subject R² depends on how much its grey and white matter happen to differ; against the variance of the
    whole population the mean over subjects is the R² of all voxels together.
    """
    tissue = table[(table["roi"] == "tissue")]
    truth = tissue[tissue["method"] == "truth"].pivot_table(
        index=["condition", "subject"], columns="metric", values="value"
    )
    mean, square = truth["cbf_mean"], truth["cbf_sd"] ** 2 + truth["cbf_mean"] ** 2
    variance = square.groupby("condition").mean() - mean.groupby("condition").mean() ** 2
    rows = tissue[(tissue["metric"] == "cbf_rmse") & tissue["condition"].isin(variance.index)].copy()
    rows["value"] = 1 - rows["value"] ** 2 / rows["condition"].map(variance)
    return rows.assign(metric="cbf_r2_pooled", unit="1")


def evaluate_members(
    members: Sequence[Estimator], test: Sequence[Path], settings: Mapping[str, Any], device: str
) -> pd.DataFrame:
    """Put an ensemble through every experiment on every held-out subject.

    Args:
        members: the networks, on the device.
        test: data-set files of the subjects.
        settings: the system's settings.
        device: ``cpu`` or ``cuda``.

    Returns:
        Rows of ``evaluation.model_table``.
    """
    scorer, rows = Scorer(members, settings), []
    for scene in build_scenes(test, settings, device):
        for experiment in EXPERIMENTS:
            rows += experiment(scorer, scene)
        LOGGER.info("scored subject %s", scene.subject)
    table = model_table(rows)
    return pd.concat([table, pooled_determination(table)], ignore_index=True)
