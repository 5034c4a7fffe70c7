"""A model's validation table: rows of its long table against its targets, with paired intervals over subjects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from scan2map.evaluation.intervals import AGGREGATIONS, Interval
from scan2map.evaluation.long_table import read_table, write_table
from scan2map.evaluation.rail import COLUMNS, target_row
from scan2map.evaluation.targets import KEYS, load_model_targets


def _values(table: pd.DataFrame, keys: Mapping[str, str]) -> pd.Series:
    """One value per subject (the mean where a subject has several), by label."""
    chosen = np.logical_and.reduce([table[key].astype(str) == str(keys[key]) for key in KEYS])
    return table[chosen & table["value"].notna()].groupby("subject", sort=True)["value"].mean()


def _compare(values: np.ndarray, reference: np.ndarray, target: Mapping[str, Any]) -> float:
    aggregate = AGGREGATIONS[target["aggregation"]]
    first, second = float(aggregate(values)), float(aggregate(reference))
    return first - second if target["difference"] else first / second


def measure(target: Mapping[str, Any], table: pd.DataFrame, settings: Mapping[str, Any]) -> Interval | None:
    """A figure and its percentile bootstrap over subjects (both methods resampled alike where two are compared).

    Args:
        target: from :func:`load_model_targets`.
        table: long table.
        settings: ``confidence``, ``resamples``, ``seed``.

    Returns:
        The figure; the limits are NaN for one subject; ``None`` where there are no rows.
    """
    values = _values(table, target)
    reference = _values(table, {**target, **target["over"]}) if target["over"] else None
    if reference is not None:
        values, reference = values.align(reference, join="inner")
    if values.empty:
        return None
    data = (values.to_numpy(),) if reference is None else (values.to_numpy(), reference.to_numpy())
    aggregate = AGGREGATIONS[target["aggregation"]]

    def figure(*samples: np.ndarray) -> float:
        return float(aggregate(samples[0])) if reference is None else _compare(*samples, target)

    value = figure(*data)
    if len(values) < 2 or target["aggregation"] in ("min", "max"):
        return Interval(value, np.nan, np.nan)
    result = stats.bootstrap(
        data, figure, n_resamples=settings["resamples"], confidence_level=settings["confidence"], paired=True,
        method="percentile", rng=np.random.default_rng(settings["seed"]), vectorized=False,
    )  # fmt: skip
    return Interval(value, float(result.confidence_interval.low), float(result.confidence_interval.high))


def validate_model(tables: Iterable, out, *, targets, variant: str, settings: Mapping[str, Any]) -> None:
    """Write the validation table of a system.

    Args:
        tables: long tables of its packages.
        out: the table to write.
        targets: its YAML file of targets.
        variant: the variant that a target without one means.
        settings: ``confidence``, ``resamples``, ``seed`` of the bootstrap over subjects.
    """
    text = dict.fromkeys(("condition", "variant"), "")
    table = pd.concat([read_table(path).fillna(text) for path in tables], ignore_index=True)
    entries = load_model_targets(targets, variant)
    rows = [target_row(target, measure(target, table, settings)) for target in entries]
    write_table(pd.DataFrame(rows, columns=list(COLUMNS)), out)
