"""The paper's table 1 with our numbers beside the published ones, and what the differences are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scan2map.evaluation.crossed import compare_crossed
from scan2map.evaluation.long_table import read_table, write_table
from scan2map.reporting.plots import pyplot, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {"psnr": ("PSNR", "dB"), "cbf_rmse": ("CBF RMSE", "ml/100g/min"), "cbf_ccc": ("CBF CCC", "1")}
PUBLISHED = {"psnr": "psnr", "cbf_rmse": "rmse", "cbf_ccc": "ccc"}
# Rows of the table: variant of the networks ("" for what needs none) and method of the long table.
FILTERS = {
    "averaging": "averaging", "gaussian06": "Gaussian 0.6 px", "gaussian10": "Gaussian 1 px",
    "nlm": "non-local means", "tv": "total variation", "regression": "tissue regression",
}  # fmt: skip
SWEEP = {
    "dilated": "Dilated Conv", "lambda02": "DeepASL λ = 0.2", "lambda05": "DeepASL λ = 0.5",
    "lambda07": "DeepASL λ = 0.7", "lambda10": "DeepASL λ = 1.0", "guided_short": "guided, same steps",
}  # fmt: skip
OWN = "the package"
REFERENCES = ("dilated", "lambda10")


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of single shares against the truth, with acquisition and share in columns of their own."""
    parts = table["condition"].str.extract(r"^(?P<acquisition>\w+) share=(?P<share>[\d.]+)$")
    chosen = parts["share"].notna() & table["metric"].isin(METRICS) & (table["roi"] == "brain")
    return table.assign(**parts)[chosen]


def _entries(rows: pd.DataFrame, own: str) -> dict[str, tuple[str, pd.DataFrame]]:
    """Label and rows of every line of the table."""
    ours, found = rows[rows["variant"] == own], {}
    for method, label in FILTERS.items():
        found[method] = (label, ours[ours["method"] == method])
    for variant, label in SWEEP.items():
        chosen = (rows["variant"] == variant) & rows["method"].str.startswith("seed-")
        found[variant] = (label, rows[chosen])
    found["package"] = (OWN, ours[ours["method"] == "network"])
    return {name: entry for name, entry in found.items() if not entry[1].empty}


def by_subject_and_seed(rows: pd.DataFrame, metric: str, acquisition: str) -> pd.DataFrame:
    """Mean over shares, (subjects, seeds)."""
    chosen = rows[(rows["metric"] == metric) & (rows["acquisition"] == acquisition)]
    return chosen.pivot_table(index="subject", columns="method", values="value", aggfunc="mean")


def _against(rows: pd.DataFrame, other: pd.DataFrame, metric: str, acquisition: str, settings: Mapping) -> dict:
    first, second = (by_subject_and_seed(one, metric, acquisition) for one in (rows, other))
    first, second = first.align(second, join="inner")
    if first.empty:
        return {}
    return compare_crossed((first - second).to_numpy(), settings)._asdict()


def table_numbers(table: pd.DataFrame, own: str, published: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """One row per acquisition, method and metric.

    Args:
        table: long tables of all packages.
        own: variant of the package that ships.
        published: the paper's table.
        settings: ``confidence``, ``resamples``, ``seed`` of the bootstrap.

    Returns:
        Mean and standard deviation over subjects, shares and seeds; the published ones; for the networks of the
        comparison the paired difference from the dilated network and from λ = 1.
    """
    entries = _entries(scored(table), own)
    beside = published.set_index(["acquisition", "method"])
    lines = []
    for acquisition in ("synthetic", "real"):
        for name, (label, rows) in entries.items():
            for metric, (_, unit) in METRICS.items():
                values = rows[(rows["metric"] == metric) & (rows["acquisition"] == acquisition)]["value"]
                line = {"acquisition": acquisition, "method": name, "label": label, "metric": metric, "unit": unit}
                line |= {"mean": values.mean(), "sd": values.std(), "n": len(values)}
                for kind in ("mean", "sd"):
                    known = (acquisition, name) in beside.index
                    column = f"{PUBLISHED[metric]}_{kind}"
                    line[f"published_{kind}"] = beside.loc[(acquisition, name), column] if known else np.nan
                for reference in REFERENCES if name in SWEEP else ():
                    if reference in entries and reference != name:
                        found = _against(rows, entries[reference][1], metric, acquisition, settings)
                        line |= {f"{key}_from_{reference}": value for key, value in found.items()}
                lines.append(line)
    return pd.DataFrame(lines)


def plot_table(numbers: pd.DataFrame) -> Figure:
    """Ours (filled, with the standard deviation) beside the published means (open), a panel per figure and acquisition.

    The published RMSE is left out: its unit and region are not given, and do not fit its PSNR.
    """
    figure, panels = pyplot().subplots(2, 3, figsize=(9.6, 7.0), layout="constrained", sharey=True)
    labels = list(dict.fromkeys(numbers["label"]))
    places = {label: len(labels) - 1 - index for index, label in enumerate(labels)}
    for line, acquisition in zip(panels, ("synthetic", "real"), strict=True):
        for axes, (metric, (title, unit)) in zip(line, METRICS.items(), strict=True):
            rows = numbers[(numbers["acquisition"] == acquisition) & (numbers["metric"] == metric)]
            y = rows["label"].map(places)
            axes.errorbar(rows["mean"], y, xerr=rows["sd"], fmt="o", color="#0072b2", markersize=4, label="here (SD)")
            if metric != "cbf_rmse":
                axes.plot(rows["published_mean"], y, "o", mfc="none", color="#d55e00", label="published")
            axes.set(xlabel=title if unit == "1" else f"{title} ({unit})", title=acquisition)
            axes.set_yticks(list(places.values()), list(places))
            axes.grid(axis="x", alpha=0.3)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    return figure


def tabulate(tables: Sequence, published, settings: Mapping[str, Any], own: str, *, table, picture) -> None:
    """Write the table and its picture.

    Args:
        tables: long validation tables of the package and of the comparison's variants.
        published: the paper's table.
        settings: of the bootstrap.
        own: variant of the package.
        table, picture: outputs.
    """
    rows = pd.concat([read_table(path).fillna({"condition": ""}) for path in tables], ignore_index=True)
    numbers = table_numbers(rows, own, read_table(published), settings)
    write_table(numbers, table)
    save_figure(plot_table(numbers), picture)
