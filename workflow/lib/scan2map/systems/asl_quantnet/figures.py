"""Figures of the validation with the numbers behind them: amplitude, noise, and maps beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scan2map.evaluation.long_table import read_table, write_table
from scan2map.reporting.plots import image_of_voxels, pyplot, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scan2map.training.package import Package

METHODS = {"network": "network", "ls": "least squares", "ls_spatial": "regularised LS", "bound": "Cramér-Rao bound"}
COLOURS = {"network": "#0072b2", "ls": "#d55e00", "ls_spatial": "#009e73", "bound": "#555555"}  # Okabe and Ito (2008)
PANELS = (
    ("cbf_rmse", "CBF RMSE (ml/100g/min)", "log"),
    ("att_rmse", "ATT RMSE (ms)", "log"),
    ("gm_wm_ratio_error", "error of the GM/WM ratio", "linear"),
)
MAP_SNR = 3.0
MAP_COLUMNS = ("truth", "least squares", "network", "standard deviation")


def _levels(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Rows whose condition is ``prefix=number``, with the number."""
    rows = table[table["condition"].astype(str).str.startswith(f"{prefix}=")].copy()
    rows["level"] = rows["condition"].str.removeprefix(f"{prefix}=").astype(float)
    return rows


def linearity_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Mean CBF over that at scale 1, by variant, tissue and scale: mean and spread over subjects."""
    rows = _levels(table, "scale")
    rows = rows[(rows["metric"] == "cbf_mean") & (rows["method"] == "network")]
    keys = ["variant", "roi", "subject"]
    one = rows[rows["level"] == 1].set_index(keys)["value"]
    rows["relative"] = rows["value"].to_numpy() / one.loc[pd.MultiIndex.from_frame(rows[keys])].to_numpy()
    grouped = rows.groupby(["variant", "roi", "level"])["relative"]
    return grouped.agg(["mean", "min", "max"]).reset_index().rename(columns={"level": "scale"})


def plot_linearity(numbers: pd.DataFrame) -> Figure:
    """Relative CBF over the scale of the input, log-log, beside the line of slope 1."""
    figure, axes = pyplot().subplots(figsize=(4.6, 3.6), layout="constrained")
    scales = np.sort(numbers["scale"].unique())
    axes.plot(scales, scales, color="#999999", linewidth=1, label="proportional")
    for (variant, roi), rows in numbers.groupby(["variant", "roi"]):
        style = {"GM": "-o", "WM": "--s"}[roi]
        axes.plot(rows["scale"], rows["mean"], style, markersize=4, label=f"{variant}, {roi}")
    axes.set(xscale="log", yscale="log", xlabel="scale of the input", ylabel="mean CBF, relative to scale 1")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(scales, [f"{value:g}" for value in scales])
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


def noise_numbers(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    """Errors in tissue over SNR_GM by method: mean, lowest and highest over subjects."""
    rows = _levels(table, "snr")
    chosen = rows["metric"].isin([metric for metric, *_ in PANELS]) & (rows["roi"] == "tissue")
    rows = rows[chosen & rows["method"].isin(METHODS) & (rows["variant"] == variant)]
    grouped = rows.groupby(["metric", "method", "level"])["value"]
    return grouped.agg(["mean", "min", "max"]).reset_index().rename(columns={"level": "snr_gm"})


def plot_noise(numbers: pd.DataFrame) -> Figure:
    """Three panels over SNR_GM; bands span the subjects."""
    figure, panels = pyplot().subplots(1, len(PANELS), figsize=(9.6, 3.2), layout="constrained")
    for axes, (metric, label, scale) in zip(panels, PANELS, strict=True):
        for method, rows in numbers[numbers["metric"] == metric].groupby("method"):
            axes.plot(rows["snr_gm"], rows["mean"], "-o", markersize=3, color=COLOURS[method], label=METHODS[method])
            axes.fill_between(rows["snr_gm"], rows["min"], rows["max"], color=COLOURS[method], alpha=0.15, linewidth=0)
        axes.set(xscale="log", yscale=scale, xlabel="SNR_GM", ylabel=label)
        axes.set_xticks(numbers["snr_gm"].unique(), [f"{value:g}" for value in numbers["snr_gm"].unique()])
        axes.minorticks_off()
    panels[0].legend(frameon=False)
    return figure


def map_numbers(
    package: Package, test: Sequence[Path], settings: Mapping[str, Any], device: str = "cpu"
) -> pd.DataFrame:
    """Truth, least squares, network and its standard deviation in the brain voxels of a slice of the first subject."""
    from scan2map.systems.asl_quantnet.baselines import least_squares
    from scan2map.systems.asl_quantnet.protocol import Scorer
    from scan2map.systems.asl_quantnet.scenes import build_scenes

    scorer = Scorer(package.members, package.judged_by(settings))
    scene = build_scenes(test[:1], scorer.settings, device)[0]
    scan = scorer.scan(scene, MAP_SNR)
    found = scorer.predict(scan)
    fitted = least_squares(scan.difference, scan.mask, scan.labelling, scene.delays, scorer.convention)
    middle = len(scan.mask) // 2
    y, x = np.nonzero(scan.mask[middle, 0].cpu().numpy())
    columns = {
        "cbf": (scan.cbf, fitted.cbf, found.cbf, found.sd_cbf),
        "att": (scan.att_s, fitted.att_s, found.att_s, found.sd_att_s),
    }
    parts = [
        pd.DataFrame({"map": name, "y": y, "x": x} | _columns(images, middle, y, x)) for name, images in columns.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _columns(images: Sequence, place: int, y: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    slices = [image[place, 0].cpu().numpy()[y, x] for image in images]
    return dict(zip(MAP_COLUMNS, slices, strict=True))


def plot_maps(numbers: pd.DataFrame) -> Figure:
    """Two rows of four maps: CBF and ATT; the standard deviation has a scale of its own."""
    figure, panels = pyplot().subplots(2, 4, figsize=(9.6, 5.0), layout="constrained")
    shown = {"cbf": ("CBF (ml/100g/min)", "magma", 100.0, 20.0), "att": ("ATT (s)", "viridis", 3.0, 0.5)}
    for line, (name, (label, colours, highest, spread)) in zip(panels, shown.items(), strict=True):
        rows = numbers[numbers["map"] == name]
        for axes, column in zip(line, MAP_COLUMNS, strict=True):
            limit = spread if column == MAP_COLUMNS[-1] else highest
            image = axes.imshow(
                image_of_voxels(rows, column, border=1), origin="lower", cmap=colours, vmin=0, vmax=limit
            )
            axes.set(title=column, xticks=[], yticks=[])
            if column in MAP_COLUMNS[-2:]:
                figure.colorbar(image, ax=axes, shrink=0.8, label=label)
        line[0].set_ylabel(label)
    return figure


def plot_validation(
    tables: Sequence,
    package_folder,
    test: Sequence,
    settings: Mapping[str, Any],
    variant: str,
    *,
    linearity,
    noise,
    maps,
) -> None:
    """Write the three figures, each with its numbers as TSV of the same name.

    Args:
        tables: long validation tables, of the package and of controls.
        package_folder: the package.
        test: data-set files of held-out subjects.
        settings: the system's settings.
        variant: of the package in the tables.
        linearity, noise, maps: pictures to write.
    """
    from scan2map.training.package import load_package

    table = pd.concat([read_table(path).fillna({"condition": ""}) for path in tables], ignore_index=True)
    drawn = (
        (linearity, plot_linearity, linearity_numbers(table)),
        (noise, plot_noise, noise_numbers(table, variant)),
        (maps, plot_maps, map_numbers(load_package(package_folder), [Path(path) for path in test], settings)),
    )
    for path, plot, numbers in drawn:
        write_table(numbers, Path(path).with_suffix(".tsv"))
        save_figure(plot(numbers), path)
