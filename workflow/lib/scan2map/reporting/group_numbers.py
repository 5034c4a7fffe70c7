"""The numbers of the group page as one table, so that each of them is a cell of a file.

Values over the sessions of a study: of tissues, against the truth, of models beside conventional estimates with
intervals over subjects, agreement in Bland and Altman's sense, and coverage of the intervals that models claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scan2map.evaluation.bland_altman import bland_altman
from scan2map.evaluation.intervals import bootstrap_interval, subject_values
from scan2map.evaluation.maps import TISSUES
from scan2map.reporting.tracing import sources_of
from scan2map.systems import load_system
from scan2map.training.files import PredictedMap

# Errors against the truth that models and conventional estimates are compared by.
MEASURES = ("root_mean_square_error", "bias")
COVERAGE = "coverage_"
# Limits of agreement of fewer sessions say nothing.
FEWEST_SESSIONS = 3
DICTIONARY = {
    "part": {"Description": "tissue, truth, scanner, model (error of an estimate), agreement or calibration"},
    "system": {"Description": "Learned system, where the number is about one"},
    "roi": {"Description": "Region: a tissue, the brain, or <atlas>:<label>"},
    "metric": {"Description": "Map; 'a - b' is the difference of the errors of two; 'a | b' compares a with b"},
    "statistic": {"Description": "What was computed over the sessions; coverage_<percent>: share inside that interval"},
    "value": {"Description": "The number, in the unit of its row", "Units": "see column unit"},
    "unit": {"Description": "Unit of value; 1 means a ratio without unit"},
    "ci_low": {"Description": "Lower end of the bootstrap interval over subjects", "Units": "see column unit"},
    "ci_high": {"Description": "Upper end of the bootstrap interval over subjects", "Units": "see column unit"},
    "n": {"Description": "Subjects (tissue, truth, scanner, agreement: sessions) behind the number"},
}


class Number(NamedTuple):
    """One row of the table."""

    part: str
    roi: str
    metric: str
    statistic: str
    value: float
    unit: str
    n: int
    system: str = ""
    ci_low: float = np.nan
    ci_high: float = np.nan


def tissue_numbers(table: pd.DataFrame) -> Iterable[Number]:
    """Median, mean and standard deviation over sessions of the tissues' medians."""
    medians = table[(table["statistic"] == "median") & table["roi"].isin(TISSUES)]
    for (roi, metric), rows in medians.groupby(["roi", "metric"], sort=False):
        for name, function in (("median", np.nanmedian), ("mean", np.nanmean), ("sd", _spread)):
            values = rows["value"].to_numpy()
            found = float(function(values)) if np.isfinite(values).any() else np.nan
            yield Number("tissue", roi, metric, name, found, rows["unit"].iloc[0], len(rows))


def _spread(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.std(known, ddof=1)) if known.size > 1 else np.nan


def comparison_numbers(part: str, table: pd.DataFrame) -> Iterable[Number]:
    """Means over sessions of a comparison's figures."""
    for (metric, roi, statistic), rows in table.groupby(["metric", "roi", "statistic"], sort=False):
        yield Number(part, roi, metric, statistic, rows["value"].mean(), rows["unit"].iloc[0], len(rows))


def _chosen(table: pd.DataFrame, metric: str, roi: str, statistic: str) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["roi"] == roi) & (table["statistic"] == statistic)]
    return rows.dropna(subset="value")


def _pairs(maps: Iterable[PredictedMap]) -> Iterable[tuple[PredictedMap, PredictedMap]]:
    """Every prediction with each of its conventional estimates."""
    maps = list(maps)
    return [(one, other) for one in maps if one.role == "prediction" for other in maps
            if other.role == "baseline" and other.of == one.name]  # fmt: skip


def model_numbers(system: str, table: pd.DataFrame, settings: Mapping[str, Any]) -> Iterable[Number]:
    """Errors of a system and of its conventional estimates per region, and their paired differences, over subjects.

    Args:
        system: its name.
        table: comparisons of its maps with the truth, all sessions.
        settings: ``confidence``, ``resamples``, ``seed`` of the bootstrap.
    """
    told = set()
    for wanted, other in _pairs(load_system(system).description.maps):
        for roi, measure in product(TISSUES, MEASURES):
            for name, values in _paired_errors(table, wanted.name, other.name, roi, measure).items():
                if (name, roi, measure) not in told:
                    found = bootstrap_interval(values, **settings)
                    yield Number("model", roi, name, measure, found.value, wanted.unit, len(values), system,
                                 found.low, found.high)  # fmt: skip
                    told.add((name, roi, measure))


def _paired_errors(table: pd.DataFrame, own: str, other: str, roi: str, measure: str) -> dict[str, np.ndarray]:
    """An error of two maps and the difference of its sizes, one value per subject that has both."""
    both = _chosen(table, own, roi, measure).merge(
        _chosen(table, other, roi, measure), on=["subject", "session"], suffixes=("", "_other")
    )
    if both.empty:
        return {}
    columns = {
        own: both["value"],
        other: both["value_other"],
        f"{own} - {other}": both["value"].abs() - both["value_other"].abs(),
    }
    return {name: subject_values(both[["subject"]].assign(value=values)) for name, values in columns.items()}


def session_means(system: str, table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Regional means of every session by a model and by its reference: the truth, or a conventional estimate.

    Returns:
        By (prediction, reference), frames with subject, session, roi, ``estimate`` and ``reference``; only those of
        three sessions or more.
    """
    maps = load_system(system).description.maps
    found = {}
    for wanted in (item for item in maps if item.role == "prediction"):
        others = [other for one, other in _pairs(maps) if one is wanted]
        true = _means(table, wanted.name, "mean_truth")
        references = {"truth": true} if len(true) else {item.name: _means(table, item.name, "mean") for item in others}
        for name, reference in references.items():
            both = _means(table, wanted.name, "mean").merge(reference, on=["subject", "session", "roi"])
            pairs = zip(both["source_x"], both["source_y"], strict=True)
            both["source"] = [" ".join(pair).strip() for pair in pairs]
            both = both.rename(columns={"value_x": "estimate", "value_y": "reference"})
            if both[["subject", "session"]].drop_duplicates().shape[0] >= FEWEST_SESSIONS:
                found[wanted.name, name] = both
    return found


def _means(table: pd.DataFrame, metric: str, statistic: str) -> pd.DataFrame:
    rows = table[(table["metric"] == metric) & (table["statistic"] == statistic) & table["roi"].isin(("GM", "WM"))]
    rows = rows.dropna(subset="value")
    return rows[["subject", "session", "roi", "value"]].assign(source=sources_of(rows))


def agreement_numbers(system: str, table: pd.DataFrame) -> Iterable[Number]:
    """Bias and limits of agreement of regional means, over sessions."""
    units = {item.name: item.unit for item in load_system(system).description.maps}
    for (metric, reference), both in session_means(system, table).items():
        for roi, rows in both.groupby("roi", sort=False):
            if len(rows) < FEWEST_SESSIONS:
                continue
            found = bland_altman(rows["estimate"].to_numpy(), rows["reference"].to_numpy())
            for name in ("bias", "low", "high"):
                value = getattr(found, name)
                yield Number("agreement", roi, f"{metric} | {reference}", name, value, units[metric], len(rows), system)


def calibration_numbers(system: str, table: pd.DataFrame, settings: Mapping[str, Any]) -> Iterable[Number]:
    """Coverage of the intervals that a system claims, mean over subjects."""
    rows = table[table["statistic"].str.startswith(COVERAGE)].dropna(subset="value")
    for (metric, roi, statistic), group in rows.groupby(["metric", "roi", "statistic"], sort=False):
        values = subject_values(group)
        found = bootstrap_interval(values, **settings)
        yield Number(
            "calibration", roi, metric, statistic, found.value, "1", len(values), system, found.low, found.high
        )


def group_numbers(
    regions: pd.DataFrame,
    comparisons: Mapping[str, pd.DataFrame],
    models: Mapping[str, pd.DataFrame],
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """All numbers of the group page that are computed over sessions.

    Args:
        regions: regional values of all sessions.
        comparisons: ``truth``, ``scanner``: figures of all sessions.
        models: by system, the comparisons of its maps, all sessions.
        settings: of the bootstrap.
    """
    rows = [*tissue_numbers(regions)]
    for part, table in comparisons.items():
        rows += comparison_numbers(part, table)
    for system, table in models.items():
        rows += model_numbers(system, table, settings)
        rows += agreement_numbers(system, table)
        rows += calibration_numbers(system, table, settings)
    return pd.DataFrame(rows, columns=list(Number._fields))[list(DICTIONARY)]
