"""The project's figures against their targets: one row per target, with its interval and verdict."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from scan2map.errors import DataError, SettingError
from scan2map.evaluation.intervals import Interval, bootstrap_interval, subject_values
from scan2map.evaluation.long_table import gather_tables, read_table, write_table
from scan2map.evaluation.targets import OPERATORS
from scan2map.provenance import commit

COLUMNS = ("id", "description", "value", "ci_low", "ci_high", "target", "met", "commit")


def load_targets(path, kinds: Collection[str]) -> list[dict]:
    """The targets that apply to a study.

    Args:
        path: YAML with a list ``targets``, each with the keys named below. An entry with ``each`` (name: values) stands
            for one target per combination, its values filled into ``{name}`` in the texts.
        kinds: what the study is: ``phantom`` or ``scan``, and ``fsl`` where results of FSL stand beside it.

    Raises:
        SettingError: an entry is incomplete or an id stands twice.
    """
    targets = [one for entry in yaml.safe_load(Path(path).read_text())["targets"] for one in _expanded(entry)]
    needed = {"id", "description", "study", "roi", "metric", "statistic", "aggregation", "op", "number", "unit"}
    broken = [target.get("id") for target in targets if set(target) != needed or target["op"] not in OPERATORS]
    identifiers = [target["id"] for target in targets if not broken]
    doubled = sorted({name for name in identifiers if identifiers.count(name) > 1})
    if broken or doubled:
        allowed = ", ".join(sorted(needed))
        raise SettingError("The table of targets is not valid", file=path, found=broken or doubled, allowed=allowed)
    return [target for target in targets if target["study"] in (*kinds, "any")]


def _expanded(entry: Mapping) -> list[dict]:
    """One target per combination of the values of ``each``; the entry itself where it has none."""
    texts = {key: value for key, value in entry.items() if key != "each"}
    combinations = itertools.product(*entry.get("each", {}).values())
    filled = [dict(zip(entry.get("each", {}), values, strict=True)) for values in combinations]
    return [
        {key: value.format(**names) if names and isinstance(value, str) else value for key, value in texts.items()}
        for names in filled
    ]


def _measure(target: Mapping, table: pd.DataFrame, settings: Mapping) -> Interval | None:
    keys = ("roi", "metric", "statistic")
    chosen = np.logical_and.reduce([table[key] == target[key] for key in keys])
    rows = table[chosen & table["value"].notna()]
    if rows.empty:
        return None
    return bootstrap_interval(subject_values(rows), aggregation=target["aggregation"], **settings)


def _text(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _verdict(target: Mapping, measured: Interval | None) -> dict[str, str]:
    unit = "" if target["unit"] == "1" else f" {target['unit']}"
    compare = OPERATORS[target["op"]]
    if compare is None:
        return {"target": f"reported{unit and ','}{unit}", "met": ""}
    met = measured is not None and compare(measured.value, target["number"])
    return {"target": f"{target['op']} {target['number']:g}{unit}", "met": "yes" if met else "no"}


def target_row(target: Mapping, measured: Interval | None) -> dict[str, str]:
    """One row of the validation table; a target without a measurement is not met."""
    value, low, high = measured or (np.nan, np.nan, np.nan)
    return {
        "id": target["id"],
        "description": target["description"],
        "value": _text(value),
        "ci_low": _text(low),
        "ci_high": _text(high),
        **_verdict(target, measured),
        "commit": commit(),
    }


def validate_rail(tables: Iterable, out, *, targets, kinds: Collection[str], settings: Mapping) -> None:
    """Write the validation table of one study.

    Args:
        tables: long tables of its sessions (truth, opposed b = 0, scanner maps).
        out: the table to write.
        targets: the YAML file of targets.
        kinds: as for :func:`load_targets`.
        settings: ``confidence``, ``resamples``, ``seed`` of the bootstrap over subjects.
    """
    table = gather_tables(tables)
    rows = [target_row(target, _measure(target, table, settings)) for target in load_targets(targets, kinds)]
    write_table(pd.DataFrame(rows, columns=list(COLUMNS)), out)


def merge_validation(sources: Sequence, out) -> None:
    """Stack the validation tables of several studies, in the order given.

    Raises:
        SettingError: no table is given.
        DataError: a table has other columns, or two tables give the same id.
    """
    tables = []
    if not sources:
        raise SettingError(
            "There is nothing to merge", found="validation.sources is empty", remedy="list the tables in it"
        )
    for source in sources:
        table = read_table(source).astype(object).fillna("")
        if tuple(table.columns) != COLUMNS:
            raise DataError(
                "A validation table has other columns", file=source, found=list(table), allowed=list(COLUMNS)
            )
        tables.append(table)
    merged = pd.concat(tables, ignore_index=True)
    doubled = sorted(merged["id"][merged["id"].duplicated()])
    if doubled:
        raise DataError("Two validation tables give the same figure", found=doubled, remedy="list each study once")
    write_table(merged, out)
