"""Figures of the validation with the numbers behind them: errors over noise, maps, latent space, calibration."""

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

    from scan2map.systems.dwi_vae.scans import Scan
    from scan2map.training.package import Package

# Lines of the error figure: variant ("" is the system's own), method, words, colour (Okabe and Ito, 2008).
LINES = (
    ("", "nlls", "NLLS", "#555555"),
    ("", "mle", "maximum likelihood", "#000000"),
    ("unig", "network", "one Gaussian, voxel by voxel", "#d55e00"),
    ("mlp", "network", "self-supervised MLP", "#e69f00"),
    ("published_gmm", "network", "VAE-GMM as published", "#cc79a7"),
    ("gmm", "network", "mixture VAE, voxel by voxel", "#56b4e9"),
    ("", "network", "mixture VAE with neighbours", "#0072b2"),
    ("", "own_scan", "the same, fitted to the scan", "#009e73"),
)
PANELS = (("D_mse", "mean squared error of D ((µm²/ms)²)"), ("K_mse", "mean squared error of K"))
MAP_SNR, LATENT_SNR = 5.0, 10.0
MAP_VARIANTS = {"mlp": "MLP", "unig": "VAE-UniG", "gmm": "VAE-GMM", "": "with neighbours"}
MAP_COLUMNS = ("truth", "NLLS", *MAP_VARIANTS.values())
SHOWN = {"D": ("D (µm²/ms)", "viridis", (0.0, 3.0), 1e3), "K": ("K", "magma", (0.0, 2.0), 1.0)}
ERROR_COLOURS, LARGEST_ERROR = "RdBu_r", 0.5
LEVELS = np.arange(0.1, 0.96, 0.05)
CALIBRATION_SNR = (5.0, 20.0)
DRAWS = 99  # samples of the posterior behind a calibration curve
LATENT_VOXELS = 3000
TISSUE_COLOURS = {"WM": "#009e73", "GM": "#d55e00", "CSF": "#0072b2", "lesion": "#000000", "mixed": "#bbbbbb"}
COMPONENT_COLOURS = ("#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")


def noise_numbers(table: pd.DataFrame, own: str) -> pd.DataFrame:
    """Mean squared errors in GM and WM over SNR by line: mean, lowest and highest over subjects."""
    rows = table[table["condition"].str.startswith("head:snr=") & (table["roi"] == "tissue")].copy()
    rows["snr"] = rows["condition"].str.removeprefix("head:snr=").astype(float)
    rows = rows[rows["metric"].isin([metric for metric, _ in PANELS])]
    parts = []
    for variant, method, words, _ in LINES:
        chosen = rows[(rows["variant"] == (variant or own)) & (rows["method"] == method)]
        parts.append(chosen.groupby(["metric", "snr"])["value"].agg(["mean", "min", "max"]).reset_index())
        parts[-1].insert(0, "line", words)
    return pd.concat(parts, ignore_index=True)


def plot_noise(numbers: pd.DataFrame) -> Figure:
    """One panel per parameter, log-log; bands span the subjects."""
    figure, panels = pyplot().subplots(1, len(PANELS), figsize=(9.6, 4.2), layout="constrained")
    colours = {words: colour for _, _, words, colour in LINES}
    for axes, (metric, label) in zip(panels, PANELS, strict=True):
        for words, rows in numbers[numbers["metric"] == metric].groupby("line", sort=False):
            style = "--" if words == "maximum likelihood" else "-"  # it lies on NLLS
            axes.plot(rows["snr"], rows["mean"], f"{style}o", markersize=3, color=colours[words], label=words)
            axes.fill_between(rows["snr"], rows["min"], rows["max"], color=colours[words], alpha=0.12, linewidth=0)
        levels = np.sort(numbers["snr"].unique())
        axes.set(xscale="log", yscale="log", xlabel="SNR of white matter at b = 0", ylabel=label)
        axes.set_xticks(levels, [f"{level:g}" for level in levels])
        axes.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def scan_for(package: Package, path: Path, snr: float) -> Scan:
    """A held-out head as a package's networks see it."""
    from scan2map.config import merge
    from scan2map.systems.dwi_vae.measured import load_scan

    return load_scan(path, merge(dict(package.settings), {"simulation": {"snr": snr}}))


def map_numbers(packages: Mapping[str, Package], path: Path) -> pd.DataFrame:
    """Truth and estimates in the brain voxels of the middle slice of a held-out head.

    Args:
        packages: by the variant's name in ``MAP_VARIANTS``.
        path: data-set file of the head.
    """
    from scan2map.systems.dwi_vae.least_squares import fit_voxels
    from scan2map.systems.dwi_vae.prediction import predict_scan
    from scan2map.training.dataset import load_subject

    mask = load_subject(path)[0]["mask"].astype(bool)
    places = np.argwhere(mask)
    inside = places[:, 2] == mask.shape[2] // 2
    scans = {name: scan_for(package, path, MAP_SNR) for name, package in packages.items()}
    scan = scans[""]
    values = {"truth": scan.truth.values, "NLLS": fit_voxels(scan.model, scan.voxels, "gaussian").tissue.values}
    for name, package in packages.items():
        values[MAP_VARIANTS[name]] = predict_scan(package.members[:1], scans[name], DRAWS).tissue.values
    parts = [
        pd.DataFrame(
            {"map": name, "x": places[inside, 0], "y": places[inside, 1]}
            | {key: scale * values[key][inside, column].numpy() for key in MAP_COLUMNS}
        )
        for column, (name, (_, _, _, scale)) in enumerate(SHOWN.items(), start=1)
    ]
    return pd.concat(parts, ignore_index=True)


def plot_maps(numbers: pd.DataFrame) -> Figure:
    """D, its error, K and its error; one scale per row."""
    size = (1.5 * len(MAP_COLUMNS) + 0.8, 3.7 * len(SHOWN))
    figure, panels = pyplot().subplots(2 * len(SHOWN), len(MAP_COLUMNS), figsize=size, layout="constrained")
    lines = zip(panels[::2], panels[1::2], SHOWN.items(), strict=True)
    for values, errors, (name, (label, colours, limits, _)) in lines:
        rows = numbers[numbers["map"] == name]
        images = {column: image_of_voxels(rows, column) for column in MAP_COLUMNS}
        wrong = {column: image - images["truth"] for column, image in images.items() if column != "truth"}
        _map_row(figure, values, images, label, cmap=colours, vmin=limits[0], vmax=limits[1])
        _map_row(
            figure, errors, wrong, f"error of {label}", cmap=ERROR_COLOURS, vmin=-LARGEST_ERROR, vmax=LARGEST_ERROR
        )
    for axes, column in zip(panels[0], MAP_COLUMNS, strict=True):
        axes.set_title(column)
    return figure


def _map_row(figure: Figure, line, images: Mapping[str, np.ndarray], label: str, **colours) -> None:
    """Images in the columns of their names, with one colour bar."""
    for axes, column in zip(line, MAP_COLUMNS, strict=True):
        axes.set_axis_off()
        if column in images:
            shown = axes.imshow(images[column], origin="lower", **colours)
    figure.colorbar(shown, ax=line, label=label, shrink=0.9)


def latent_numbers(package: Package, path: Path) -> pd.DataFrame:
    """Two dimensions of the latent variable of voxels of a held-out head, with tissue and component."""
    import torch

    from scan2map.systems.dwi_vae.prediction import predict_scan

    scan = scan_for(package, path, LATENT_SNR)
    found = predict_scan(package.members[:1], scan, 2)
    chosen = torch.linspace(0, len(scan.voxels) - 1, min(LATENT_VOXELS, len(scan.voxels))).long()
    tissue = [scan.names[number] for number in scan.label[chosen].tolist()]
    latent = found.latents[chosen].numpy()
    component = found.membership[chosen].argmax(-1).numpy()
    return pd.DataFrame({"tissue": tissue, "component": component, "z1": latent[:, 0], "z2": latent[:, 1]})


def plot_latent(numbers: pd.DataFrame) -> Figure:
    """Coloured by true tissue (left) and by the component of the mixture (right)."""
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(9.0, 4.0), sharey=True, layout="constrained")
    for order, (name, colour) in enumerate(TISSUE_COLOURS.items()):
        rows = numbers[numbers["tissue"] == name]
        if len(rows):
            left.scatter(rows["z1"], rows["z2"], s=4, color=colour, label=name, linewidths=0, zorder=-order)
    for number, rows in numbers.groupby("component"):
        colour = COMPONENT_COLOURS[number % len(COMPONENT_COLOURS)]
        right.scatter(rows["z1"], rows["z2"], s=4, color=colour, label=f"component {number + 1}", linewidths=0)
    for axes, title in ((left, "true tissue"), (right, "component of the mixture")):
        axes.set(xlabel="z1", title=title)
        axes.legend(frameon=False, markerscale=3)
    left.set_ylabel("z2")
    return figure


def calibration_numbers(package: Package, path: Path) -> pd.DataFrame:
    """Share of GM and WM voxels whose truth lies in the central interval of each nominal level."""
    from scan2map.systems.dwi_vae.evaluate import groups
    from scan2map.systems.dwi_vae.prediction import ranks

    rows = []
    for snr in CALIBRATION_SNR:
        scan = scan_for(package, path, snr)
        inside = groups(scan)["tissue"]
        away = 2 * (ranks(package.members[0], scan, DRAWS)[inside] - 0.5).abs()
        for column, name in ((1, "D"), (2, "K")):
            shares = [(away[:, column] <= level).double().mean().item() for level in LEVELS]
            rows += [
                {"snr": snr, "parameter": name, "nominal": level, "covered": share}
                for level, share in zip(LEVELS, shares, strict=True)
            ]
    return pd.DataFrame(rows)


def plot_calibration(numbers: pd.DataFrame) -> Figure:
    """Observed over nominal coverage beside the line of a calibrated posterior."""
    figure, axes = pyplot().subplots(figsize=(4.4, 4.0), layout="constrained")
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="calibrated")
    for (snr, name), rows in numbers.groupby(["snr", "parameter"]):
        style = {"D": "-", "K": "--"}[name]
        colour = {CALIBRATION_SNR[0]: "#d55e00", CALIBRATION_SNR[1]: "#0072b2"}[snr]
        axes.plot(rows["nominal"], rows["covered"], style, color=colour, label=f"{name}, SNR {snr:g}")
    axes.set(xlabel="nominal coverage", ylabel="observed coverage (GM and WM)", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    return figure


def plot_validation(
    tables: Sequence, packages: Mapping[str, Any], test: Sequence, own: str, *, noise, maps, latent, calibration
) -> None:
    """Draw all figures; each one's numbers lie beside it as TSV.

    Args:
        tables: long tables of the evaluations.
        packages: folders of the packages by the variant's name in ``MAP_VARIANTS``.
        test: data-set files of the held-out heads; maps, latent space and calibration are of the first.
        own: the variant that stands for the system.
        noise, maps, latent, calibration: pictures to write.
    """
    from scan2map.training.package import load_package

    table = pd.concat([read_table(path).fillna({"condition": ""}) for path in tables], ignore_index=True)
    loaded, head = {name: load_package(folder) for name, folder in packages.items()}, Path(test[0])
    drawn = (
        (noise, plot_noise, noise_numbers(table, own)),
        (maps, plot_maps, map_numbers(loaded, head)),
        (latent, plot_latent, latent_numbers(loaded["gmm"], head)),
        (calibration, plot_calibration, calibration_numbers(loaded[""], head)),
    )
    for path, plot, numbers in drawn:
        write_table(numbers, Path(path).with_suffix(".tsv"))
        save_figure(plot(numbers), path)
