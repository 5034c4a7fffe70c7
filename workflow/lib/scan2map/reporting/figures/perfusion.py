"""Pictures of a perfusion scan as a whole: its values in each tissue, and all of its difference images at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from scan2map.derivative_tables import read_frame
from scan2map.errors import DataError
from scan2map.evaluation.maps import TISSUES
from scan2map.images import load_image
from scan2map.preprocess.asl.difference import recorded_differences
from scan2map.preprocess.asl.metadata import load_labelling
from scan2map.reporting.charts import line_chart
from scan2map.reporting.figures.scenes import Style, load_mask
from scan2map.reporting.mosaic import DPI, INK, OUTLINES
from scan2map.reporting.pictures import Picture, picture_of

# A voxel belongs to a tissue from this fraction on.
TISSUE_FRACTION = 0.7
LEAST_VOXELS = 20
# Ends and bin width of the histogram, ml/100g/min.
HISTOGRAM_RANGE, BIN_WIDTH = (-40.0, 140.0), 5.0
CARPET_ASPECT = 0.42
# Rows of the carpet at most: enough for the height of the picture.
CARPET_ROWS = 900
# The carpet's colours end at this percentile of the size of its values.
CARPET_PERCENTILE = 98
FATE_COLOURS = {"used": "#009E73", "outlier": "#E69F00", "skipped": "#999999"}


def tissue_groups(inputs: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Voxels of the brain mask that are mostly one tissue, by tissue; tissues with a handful of voxels are left out."""
    mask = load_mask(inputs["mask"])
    groups = {name: mask & (load_image(inputs[name]).data >= TISSUE_FRACTION) for name in TISSUES}
    return {name: group for name, group in groups.items() if group.sum() >= LEAST_VOXELS}


def tissue_histogram(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Markup]:
    """Perfusion of voxels that are mostly one tissue: share of the tissue's voxels in each bin, per cent.

    Args:
        inputs: ``map``, ``mask``, and ``GM``, ``WM``, ``CSF`` fraction maps.
        options: ``alt``.
        style: not used; charts scale with the page.

    Raises:
        DataError: no voxel is mostly one tissue.
    """
    values, groups = load_image(inputs["map"]).data, tissue_groups(inputs)
    if not groups:
        raise DataError("No voxel is mostly one tissue", file=inputs["map"], remedy="look at the registration")
    edges = np.arange(HISTOGRAM_RANGE[0], HISTOGRAM_RANGE[1] + BIN_WIDTH, BIN_WIDTH)
    # Values beyond the ends count at the ends: none is lost from sight.
    clipped = {name: np.clip(values[group], edges[0], edges[-1] - 1e-3) for name, group in groups.items()}
    shares = {name: 100 * np.histogram(found, edges)[0] / found.size for name, found in clipped.items()}
    labels = {"x_label": "CBF (ml/100 g/min)", "y_label": "voxels (%)", "x": edges[:-1] + BIN_WIDTH / 2}
    return [line_chart(shares, title=options["alt"], **labels)]


def difference_carpet(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """All difference images at once: a column per control-label pair, a row per voxel, sorted by tissue.

    Args:
        inputs: ``series`` (corrected volumes), ``labelling``, ``pairs`` (table), ``m0`` (calibrated), ``mask``, and
            ``GM``, ``WM``, ``CSF`` fraction maps.
        options: ``alt``.
        style: size of the picture.

    Raises:
        DataError: no voxel is mostly one tissue.
    """
    table = read_frame(inputs["pairs"], ("volumes", "fate"))
    types, groups = load_labelling(inputs["labelling"]).volume_types, tissue_groups(inputs)
    if not groups:
        raise DataError("No voxel is mostly one tissue", file=inputs["series"], remedy="look at the registration")
    images = recorded_differences(load_image(inputs["series"]).data, types, table["volumes"])
    relative = 100 * images / np.maximum(load_image(inputs["m0"]).data, 1e-6)[..., None]
    rows = {name: thinned(relative[group], sum(map(np.sum, groups.values()))) for name, group in groups.items()}
    return [picture_of(_draw_carpet(rows, list(table["fate"]), style), alt=options["alt"])]


def thinned(values: np.ndarray, total: int) -> np.ndarray:
    """Every n-th row, so that ``total`` rows of all tissues become about ``CARPET_ROWS``."""
    return values[:: max(1, int(np.ceil(total / CARPET_ROWS)))]


def _draw_carpet(rows: Mapping[str, np.ndarray], fates: list[str], style: Style):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    size = (style.width_px / DPI, style.width_px * CARPET_ASPECT / DPI)
    figure = plt.figure(figsize=size, dpi=DPI, facecolor="black")
    _draw_means(figure.add_axes((0.07, 0.78, 0.83, 0.18)), rows, fates)
    axes = figure.add_axes((0.07, 0.11, 0.83, 0.65))
    stacked = np.concatenate(list(rows.values()))
    largest = float(np.percentile(np.abs(stacked), CARPET_PERCENTILE)) or 1.0
    shown = axes.imshow(stacked, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
    _mark_tissues(axes, {name: len(values) for name, values in rows.items()})
    axes.set_xlabel("pair", color=INK)
    axes.tick_params(colors=INK)
    axes.xaxis.get_major_locator().set_params(integer=True)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.92, 0.11, 0.011, 0.65)), extend="both")
    bar.set_label("ΔM (% of M0)", color=INK)
    bar.ax.tick_params(colors=INK)
    return figure


def _draw_means(axes, rows: Mapping[str, np.ndarray], fates: list[str]) -> None:
    """Mean of each tissue for every pair, and what became of the pair."""
    places = np.arange(len(fates))
    for name, values in rows.items():
        axes.plot(places, values.mean(0), color=OUTLINES[name], linewidth=1.3, label=name, marker=".", markersize=3)
    low, high = axes.get_ylim()
    axes.scatter(places, [high + 0.12 * (high - low)] * len(fates), marker="s", s=14,
                 c=[FATE_COLOURS[fate] for fate in fates], clip_on=False)  # fmt: skip
    axes.set_xlim(-0.5, len(fates) - 0.5)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.tick_params(colors=INK, labelsize=8)
    axes.set_ylabel("mean (%)", color=INK, fontsize=8)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, labelcolor=INK)


def _mark_tissues(axes, counts: Mapping[str, int]) -> None:
    """Borders between tissues, and their names in place of row numbers."""
    ends = np.cumsum(list(counts.values()))
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="black", linewidth=1.5)
    axes.set_yticks(ends - np.array(list(counts.values())) / 2 - 0.5, list(counts))
