"""Figures of the validation with the numbers behind them: maps beside the truth, errors by tissue and input, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scan2map.evaluation.long_table import read_table, write_table
from scan2map.reporting.plots import image_of_voxels, pyplot, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scan2map.training.package import Package

# Variant, words, colour (Okabe and Ito, 2008), hatched for the single stage.
BARS = (
    ("autoencoder", "tensor autoencoder", "#999999", False),
    ("multi", "12 cycles, multi-stage", "#0072b2", False),
    ("single", "12 cycles, single stage", "#0072b2", True),
    ("single_cycle", "one cycle, multi-stage", "#56b4e9", False),
    ("t1w", "T1w, multi-stage", "#e69f00", False),
    ("template", "template, registered", "#000000", False),
)
PANELS = (
    ("fa_relative_error", "relative error of FA"),
    ("md_relative_error", "relative error of MD"),
    ("axial_angle", "axial angle (degrees)"),
    ("frobenius_error", "Frobenius error (10⁻³ mm²/s)"),
)
TISSUES = ("CSF", "GM", "WM")
SPREAD = ("p1", "p25", "p75", "p99", "mean", "sd")
LOSS_PARTS = ("l1", "ssim", "perceptual", "adversarial")
LOSS_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
MAP_COLUMNS = {"template": "template", "t1w": "T1w", "": "12 cycles", "autoencoder": "autoencoder"}
TRUTH = "truth"
ELEMENTS = {"Dxx": 0, "Dxy": 1, "Dxz": 2, "Dyy": 3, "Dyz": 4, "Dzz": 5}
SCALARS = {"MD": ("viridis", (0.0, 2.0)), "FA": ("gray", (0.0, 0.8))}
ELEMENT_RANGE = {"diagonal": ("viridis", (0.0, 2.0)), "off": ("coolwarm", (-0.4, 0.4))}
COLOUR_NAMES = ("red", "green", "blue")


def bar_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Median error of each input and course by tissue: mean over held-out subjects, and quartiles within a subject."""
    rows = table[table["method"].eq("network") & table["roi"].isin(TISSUES)]
    parts = []
    for variant, words, *_ in BARS:
        chosen = rows[rows["variant"] == variant]
        for metric, _ in PANELS:
            means = {
                name: chosen[chosen["metric"] == metric + suffix].groupby("roi")["value"].mean()
                for name, suffix in (("median", ""), ("lower", "_p25"), ("upper", "_p75"))
            }
            parts.append(pd.DataFrame(means).rename_axis("roi").reset_index().assign(metric=metric, line=words))
    return pd.concat(parts, ignore_index=True)[["metric", "line", "roi", "median", "lower", "upper"]]


def plot_bars(numbers: pd.DataFrame) -> Figure:
    """A panel per error; a group of bars per tissue; error bars are the quartiles over voxels."""
    figure, panels = pyplot().subplots(2, 2, figsize=(9.6, 6.4), layout="constrained")
    width = 0.8 / len(BARS)
    for axes, (metric, label) in zip(panels.flat, PANELS, strict=True):
        for place, (_, words, colour, hatched) in enumerate(BARS):
            rows = numbers[(numbers["metric"] == metric) & (numbers["line"] == words)].set_index("roi").reindex(TISSUES)
            spread = np.abs(rows[["lower", "upper"]].to_numpy().T - rows["median"].to_numpy())
            axes.bar(
                np.arange(len(TISSUES)) + (place - len(BARS) / 2 + 0.5) * width, rows["median"], width,
                yerr=spread, color=colour, alpha=0.5 if hatched else 1, hatch="///" if hatched else None, label=words,
                error_kw={"linewidth": 0.7, "ecolor": "#444444"},
            )  # fmt: skip
        # FA is near 0 in CSF, so that its relative error there would hide those of the other tissues.
        axes.set_yscale("log" if metric == "fa_relative_error" else "linear")
        axes.set(ylabel=label, xticks=range(len(TISSUES)), xticklabels=TISSUES, xlim=(-0.5, len(TISSUES) - 0.5))
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def distributions(table: pd.DataFrame) -> pd.DataFrame:
    """Every figure that has one as a distribution over voxels, mean over held-out subjects, a row per region."""
    keys = ["variant", "method", "roi", "metric", "unit"]
    means = table.groupby(keys, sort=False)["value"].mean().reset_index()
    pattern = f"^(?P<metric>.*?)_(?P<part>{'|'.join(SPREAD)})$"
    named = means["metric"].str.extract(pattern)
    spread = means[named["part"].notna()].assign(metric=named["metric"], part=named["part"])
    wide = spread.pivot(index=keys, columns="part", values="value").reset_index()
    medians = means.rename(columns={"value": "median"})
    return medians.merge(wide, on=keys)[[*keys[:-1], "median", *SPREAD, "unit"]]


def loss_numbers(histories: Sequence) -> pd.DataFrame:
    """Parts of the generator's training loss, unweighted, at the end of each training: mean over seeds.

    Args:
        histories: history tables of trainings, ``<variant>/fold-<fold>/seed-<seed>/history.tsv``.
    """
    parts, variants = [], {}
    for path in map(Path, histories):
        variants.setdefault(path.parents[2].name, []).append(path)
    for variant, paths in variants.items():
        last = pd.DataFrame([pd.read_csv(path, sep="\t").iloc[-1] for path in paths])
        names = [name for name in LOSS_PARTS if f"train/{name}" in last]
        parts += [{"variant": variant, "part": name, "loss": float(last[f"train/{name}"].mean())} for name in names]
    return pd.DataFrame(parts)


def plot_losses(numbers: pd.DataFrame) -> Figure:
    """Bars of the parts for each training, logarithmic."""
    figure, axes = pyplot().subplots(figsize=(7.2, 3.6), layout="constrained")
    variants = list(dict.fromkeys(numbers["variant"]))
    width = 0.8 / len(LOSS_PARTS)
    for place, (name, colour) in enumerate(zip(LOSS_PARTS, LOSS_COLOURS, strict=True)):
        rows = numbers[numbers["part"] == name].set_index("variant").reindex(variants)
        offset = (place - len(LOSS_PARTS) / 2 + 0.5) * width
        axes.bar(np.arange(len(variants)) + offset, rows["loss"], width, color=colour, label=name)
    axes.set(yscale="log", ylabel="loss, unweighted", xticks=range(len(variants)))
    axes.set_xticklabels(variants, rotation=20, ha="right")
    axes.legend(frameon=False, ncols=len(LOSS_PARTS), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def map_numbers(packages: Mapping[str, Package], path: Path) -> pd.DataFrame:
    """Truth and predictions in the brain voxels of the middle slice of a held-out head: elements, MD, FA, colours.

    Args:
        packages: by the variant's name in ``MAP_COLUMNS``.
        path: data-set file of the head.
    """
    from scan2map.systems.bssfp_dti.prediction import Translator
    from scan2map.training.dataset import load_subject

    arrays, _ = load_subject(path)
    tensors = {TRUTH: arrays["truth"]}
    for name, package in packages.items():
        members = [Translator(member, package.settings, package.normalisation, "cpu") for member in package.members]
        scaled = [member.scaled(arrays, 0) for member in members]
        tensors[MAP_COLUMNS[name]] = members[0].tensors(scaled, arrays["mask"])
    middle = arrays["mask"].shape[2] // 2
    inside = arrays["mask"][:, :, middle] > 0
    x, y = np.nonzero(inside)
    columns = {column: slice_values(values[:, :, :, middle][:, inside].T) for column, values in tensors.items()}
    parts = [
        pd.DataFrame({"map": name, "x": x, "y": y} | {column: values[name] for column, values in columns.items()})
        for name in columns[TRUTH]
    ]
    return pd.concat(parts, ignore_index=True)


def slice_values(tensors: np.ndarray) -> dict[str, np.ndarray]:
    """Elements, MD, FA and direction colours (|V1| · FA) of tensors (n, 6)."""
    from scan2map.physics.diffusion import principal_direction, tensor_scalars

    scalars = tensor_scalars(tensors.astype(float))
    colours = np.abs(principal_direction(tensors.astype(float))) * scalars.fa[:, None]
    found = {name: tensors[:, index] for name, index in ELEMENTS.items()} | {"MD": scalars.md, "FA": scalars.fa}
    return found | dict(zip(COLOUR_NAMES, colours.T, strict=True))


def _display(name: str) -> tuple[str, tuple[float, float]]:
    if name in SCALARS:
        return SCALARS[name]
    return ELEMENT_RANGE["diagonal" if name[1] == name[2] else "off"]


def plot_maps(numbers: pd.DataFrame, names: Sequence[str], *, colours: bool = False) -> Figure:
    """A row per map, a column per predictor, truth first; one scale per row.

    Args:
        numbers: from :func:`map_numbers`.
        names: maps to show.
        colours: whether the last row shows the directions as colours (right red, front green, up blue).
    """
    columns = [TRUTH, *MAP_COLUMNS.values()]
    lines = len(names) + colours
    figure, panels = pyplot().subplots(
        lines, len(columns), figsize=(1.75 * len(columns), 2.0 * lines), layout="constrained", squeeze=False
    )
    for line, name in zip(panels, names, strict=False):
        map_colours, (low, high) = _display(name)
        rows = numbers[numbers["map"] == name]
        for axes, column in zip(line, columns, strict=True):
            shown = axes.imshow(image_of_voxels(rows, column), origin="lower", cmap=map_colours, vmin=low, vmax=high)
        figure.colorbar(shown, ax=line[-1], shrink=0.8)
        line[0].set_ylabel(f"{name} (10⁻³ mm²/s)" if name != "FA" else name)
    for axes, column in zip(panels[-1], columns, strict=True) if colours else ():
        parts = [image_of_voxels(numbers[numbers["map"] == name], column) for name in COLOUR_NAMES]
        axes.imshow(np.nan_to_num(np.stack(parts, axis=-1)).clip(0, 1), origin="lower")
    if colours:
        panels[-1][0].set_ylabel("direction")
    for axes, column in zip(panels[0], columns, strict=True):
        axes.set_title(column)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def plot_validation(
    tables: Sequence, histories: Sequence, packages: Mapping[str, str], test: Sequence, *,
    elements, scalars, errors, losses, spread,
) -> None:  # fmt: skip
    """Draw all figures; beside each lies a table of its numbers.

    Args:
        tables: long tables of the packages.
        histories: history tables of trainings.
        packages: folders of the packages by the variant's name in ``MAP_COLUMNS``.
        test: data-set files of the held-out heads.
        elements, scalars, errors, losses: pictures to write.
        spread: table to write, the errors of every variant and region as distributions.
    """
    from scan2map.training.package import load_package

    maps = map_numbers({name: load_package(folder) for name, folder in packages.items()}, Path(test[0]))
    table = pd.concat([read_table(path) for path in tables], ignore_index=True)
    bars, parts = bar_numbers(table), loss_numbers(histories)
    of_elements = maps["map"].isin(ELEMENTS)
    for path, numbers, figure in (
        (elements, maps[of_elements], plot_maps(maps, list(ELEMENTS))),
        (scalars, maps[~of_elements], plot_maps(maps, list(SCALARS), colours=True)),
        (errors, bars, plot_bars(bars)),
        (losses, parts, plot_losses(parts)),
    ):
        save_figure(figure, path)
        write_table(numbers, Path(path).with_suffix(".tsv"))
    write_table(distributions(table), spread)
