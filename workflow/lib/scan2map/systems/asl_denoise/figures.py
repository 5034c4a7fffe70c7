"""The paper's figures 2 to 4 on a held-out subject, with the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from scan2map.evaluation.agreement import root_mean_square_error
from scan2map.evaluation.bland_altman import bland_altman
from scan2map.evaluation.long_table import write_table
from scan2map.models.guided_denoiser import tissue_regression
from scan2map.reporting.plots import image_of_voxels, pyplot, save_figure
from scan2map.systems.asl_denoise.baselines import gaussian
from scan2map.systems.asl_denoise.labelling import consensus_map
from scan2map.systems.asl_denoise.protocol import NETWORK, REGRESSION_WIDTH_VOXELS, psnr
from scan2map.systems.asl_denoise.scenes import Scene, build_scenes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scan2map.training.package import Package

# Figure 2: a fifth of the synthetic pairs; figures 3 and 4: two fifths of few pairs, with long transit times.
SHOWN = {"synthetic": 0.2, "real": 0.4}
AGREEMENT = "real"
ROWS = {"deltam": ("ΔM (network units)", 1.5), "cbf": ("CBF (ml/100g/min)", 90.0)}
METHODS = ("averaging", "Gaussian 1 px", "tissue regression", "Dilated Conv", "DeepASL", "the package")
TRUTH = "truth"


def _estimates(scene: Scene, share: float, packages: Mapping[str, Package]) -> dict[str, torch.Tensor]:
    """Difference images by method, the truth last."""
    from scan2map.systems.asl_denoise.evaluate import scorer_of

    _, average, _ = next(scene.averages([share]))
    found = {
        "averaging": average.image,
        "Gaussian 1 px": gaussian(average.image, scene.slices.mask, 1.0),
        "tissue regression": tissue_regression(average.image, scene.guide, REGRESSION_WIDTH_VOXELS),
    }
    for name, package in packages.items():
        scorer = scorer_of(package, {"evaluation": {}})
        found[name] = scorer.denoised(average.image, scene)[NETWORK]
    return found | {TRUTH: scene.slices.clean()}


def slice_numbers(scene: Scene, images: Mapping[str, torch.Tensor]) -> pd.DataFrame:
    """ΔM and CBF of every method in the brain voxels of the middle slice."""
    middle = len(scene.slices.mask) // 2
    y, x = np.nonzero(scene.slices.mask[middle, 0].numpy())
    parts = []
    for name, change in (
        ("deltam", lambda image: image),
        ("cbf", lambda i: consensus_map(i, scene.slices.relative_m0)),
    ):
        columns = {method: change(image)[middle, 0].numpy()[y, x] for method, image in images.items()}
        parts.append(pd.DataFrame({"map": name, "y": y, "x": x} | columns))
    return pd.concat(parts, ignore_index=True)


def _caption(name: str, found: pd.Series, true: pd.Series) -> str:
    if name == "deltam":
        return f"{psnr(found.to_numpy(), true.to_numpy()):.1f} dB"
    return f"RMSE {root_mean_square_error(found, true):.1f}"


def plot_slices(numbers: pd.DataFrame) -> Figure:
    """Difference images above, perfusion below; PSNR and RMSE in the corners."""
    columns = [*METHODS, TRUTH]
    figure, panels = pyplot().subplots(2, len(columns), figsize=(13.4, 4.6), layout="constrained")
    for line, (name, (label, highest)) in zip(panels, ROWS.items(), strict=True):
        rows = numbers[numbers["map"] == name]
        for axes, column in zip(line, columns, strict=True):
            colours = "gray" if name == "deltam" else "magma"
            shown = axes.imshow(
                image_of_voxels(rows, column, border=1), origin="lower", cmap=colours, vmin=0, vmax=highest
            )
            axes.set(xticks=[], yticks=[], title=column if name == "deltam" else "")
            if column != TRUTH:
                words = _caption(name, rows[column], rows[TRUTH])
                axes.text(0.02, 0.98, words, transform=axes.transAxes, va="top", fontsize=8, color="black",
                          bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5})  # fmt: skip
        figure.colorbar(shown, ax=line, shrink=0.85, label=label)
    return figure


def agreement_numbers(scene: Scene, images: Mapping[str, torch.Tensor]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """CBF of grey-matter voxels by method and truth, and the statistics of each method."""
    inside = scene.regions()["GM"].numpy()
    cbf = {name: consensus_map(image, scene.slices.relative_m0).numpy()[inside] for name, image in images.items()}
    figures = [{"method": name} | bland_altman(cbf[name], cbf[TRUTH])._asdict() for name in METHODS]
    return pd.DataFrame(cbf), pd.DataFrame(figures)


def plot_agreement(voxels: pd.DataFrame, figures: pd.DataFrame) -> Figure:
    """Difference from the truth over the mean of both: voxels, bias, limits of agreement, regression line."""
    figure, panels = pyplot().subplots(
        1, len(METHODS), figsize=(14.4, 3.0), layout="constrained", sharex=True, sharey=True
    )
    for axes, found in zip(panels, figures.itertuples(), strict=True):
        estimate, truth = voxels[found.method], voxels[TRUTH]
        mean = (estimate + truth) / 2
        axes.plot(mean, estimate - truth, ".", markersize=1.5, alpha=0.3, color="#0072b2", rasterized=True)
        axes.axhline(found.bias, color="#009e73")
        for limit in (found.low, found.high):
            axes.axhline(limit, color="#777777")
        ends = np.array([mean.min(), mean.max()])
        axes.plot(ends, found.slope * ends + found.intercept, color="#d55e00")
        axes.set(title=f"{found.method}: CCC {found.ccc:.2f}", xlabel="mean of both (ml/100g/min)")
    panels[0].set_ylabel("difference from the truth (ml/100g/min)")
    return figure


def _scenes(test: Sequence, settings: Mapping[str, Any]) -> dict[str, Scene]:
    return {scene.acquisition: scene for scene in build_scenes([Path(test[0])], settings["evaluation"])}


def plot_denoised(
    packages: Mapping[str, Any], test: Sequence, settings: Mapping[str, Any], *, synthetic, real, agreement
) -> None:
    """Write the three figures, each with its numbers as TSV of the same name.

    Args:
        packages: folders of the packages by method: the dilated network, the paper's, and the one that ships.
        test: data-set files of held-out subjects; the first one is shown.
        settings: the system's settings.
        synthetic, real, agreement: pictures to write.
    """
    from scan2map.training.package import load_package

    loaded, scenes = {name: load_package(folder) for name, folder in packages.items()}, _scenes(test, settings)
    with torch.inference_mode():
        images = {name: _estimates(scene, SHOWN[name], loaded) for name, scene in scenes.items()}
    for name, path in (("synthetic", synthetic), ("real", real)):
        numbers = slice_numbers(scenes[name], images[name])
        write_table(numbers, Path(path).with_suffix(".tsv"))
        save_figure(plot_slices(numbers), path)
    voxels, figures = agreement_numbers(scenes[AGREEMENT], images[AGREEMENT])
    write_table(figures, Path(agreement).with_suffix(".tsv"))
    save_figure(plot_agreement(voxels, figures), agreement)
