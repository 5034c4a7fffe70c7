"""Pictures of a diffusion series as a whole: residuals of all its slices, and where its gradients point."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.derivative_tables import read_frame
from scan2map.errors import DataError
from scan2map.preprocess.dwi.gradients import bvec_to_world, shell_values
from scan2map.reporting.figures.scenes import Style
from scan2map.reporting.mosaic import DPI, INK
from scan2map.reporting.pictures import Picture, picture_of

# Residuals beyond this many standard deviations have the darkest colours.
CARPET_LIMIT_SD = 8.0
OUTLIER_COLOUR = "#E69F00"
CARPET_ASPECT, PANEL_ASPECT = 0.36, 1.12
# So many shells or fewer have discs of the same size.
MOST_PANELS = 3


def _figure(width_px: float, height_px: float):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor="black")


def slice_grid(table, column: str) -> np.ndarray:
    """A column of the slice table as (slices, volumes).

    Args:
        table: one row per volume and slice.
        column: its name.
    """
    return table.pivot(index="slice", columns="volume", values=column).to_numpy()


def slice_carpet(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """Residual of every slice of every volume against its prediction; replaced slices are framed.

    Args:
        inputs: ``slices``: table with ``volume``, ``slice``, ``score``, ``outlier``; ``acquisition``: table with the
            ``b_value`` of every volume.
        options: ``alt``.
        style: size of the picture.

    Raises:
        DataError: the two tables are not of one series.
    """
    table = read_frame(inputs["slices"], ("volume", "slice", "score", "outlier"))
    b_values = read_frame(inputs["acquisition"], ("b_value",))["b_value"].to_numpy()
    scores, outliers = slice_grid(table, "score"), slice_grid(table, "outlier") == "yes"
    if scores.shape[1] != len(b_values):
        raise DataError("The slice table does not fit its series", file=inputs["slices"], found=scores.shape[1],
                        allowed=f"{len(b_values)} volumes")  # fmt: skip
    figure = _figure(style.width_px, style.width_px * CARPET_ASPECT)
    _draw_weighting(figure.add_axes((0.07, 0.86, 0.83, 0.1)), b_values)
    axes = figure.add_axes((0.07, 0.14, 0.83, 0.7))
    axes.set_facecolor("black")
    # A score of exactly zero means a slice that was not judged (b = 0, or hardly any brain in it).
    judged = np.where(scores == 0, np.nan, scores)
    shown = axes.imshow(judged, cmap="RdBu_r", vmin=-CARPET_LIMIT_SD, vmax=CARPET_LIMIT_SD, aspect="auto",
                        origin="lower", interpolation="nearest")  # fmt: skip
    _frame_cells(axes, outliers)
    axes.set_xlabel("volume", color=INK)
    axes.set_ylabel("slice", color=INK)
    axes.tick_params(colors=INK)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.92, 0.14, 0.011, 0.7)), extend="both")
    bar.set_label("residual (robust SD)", color=INK)
    bar.ax.tick_params(colors=INK)
    return [picture_of(figure, alt=options["alt"])]


def _draw_weighting(axes, b_values: np.ndarray) -> None:
    """The b-value of every volume as a step line above the carpet."""
    axes.stairs(b_values, np.arange(len(b_values) + 1) - 0.5, color="#56B4E9", linewidth=1.2, baseline=None)
    axes.set_xlim(-0.5, len(b_values) - 0.5)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([0, b_values.max()])
    axes.tick_params(colors=INK, labelsize=8)
    axes.set_ylabel("b (s/mm²)", color=INK, fontsize=8)


def _frame_cells(axes, chosen: np.ndarray) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    cells = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in np.argwhere(chosen)]
    axes.add_collection(PatchCollection(cells, facecolor="none", edgecolor=OUTLIER_COLOUR, linewidth=1.2))


def equal_area(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lambert's equal-area projection of axes onto a unit disc, seen from above.

    Args:
        directions: (n, 3) unit vectors in world RAS axes.

    Returns:
        Points (n, 2) with the right of the head to the right and its front upwards, and (n,) True where the vector
        points down and its opposite is shown.
    """
    below = directions[:, 2] < 0
    upper = np.where(below[:, None], -directions, directions)
    return upper[:, :2] / np.sqrt(1 + upper[:, 2:]), below


def gradient_directions(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Picture]:
    """The gradient directions of every shell as the head saw them, on half a sphere.

    Args:
        inputs: ``series``: the corrected series (for its axes); ``bval`` and ``bvec``: its rotated b-table.
        options: ``alt``.
        style: size of the picture.
    """
    directions, shells = _weighted_directions(inputs)
    values = np.unique(shells)
    width = 1 / max(len(values), MOST_PANELS)
    height_px = PANEL_ASPECT * width * style.width_px
    figure = _figure(style.width_px, height_px)
    for place, value in enumerate(values):
        left = 0.5 + (place - len(values) / 2) * width
        axes = figure.add_axes((left, 0, width, 1 / PANEL_ASPECT))
        _draw_disc(axes, directions[shells == value])
        axes.set_title(f"b = {value:.0f} s/mm², {int((shells == value).sum())} volumes", color=INK, fontsize=10)
    return [picture_of(figure, alt=options["alt"])]


def _weighted_directions(inputs: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """World directions (n, 3) and shells (n,) of the volumes that have a direction."""
    import nibabel as nib

    b_values, b_vectors = np.loadtxt(inputs["bval"], ndmin=1), np.loadtxt(inputs["bvec"], ndmin=2).T
    weighted = np.linalg.norm(b_vectors, axis=1) > 0
    directions = b_vectors[weighted] @ bvec_to_world(nib.load(inputs["series"]).affine).T
    return directions, shell_values(b_values[weighted], 0.0)


def _draw_disc(axes, directions: np.ndarray) -> None:
    """One shell: filled where the vector itself points up, open where its opposite does; colour as in FA maps."""
    from matplotlib.patches import Circle

    points, below = equal_area(directions)
    colours = np.clip(np.abs(directions) * 1.1 + 0.1, 0, 1)
    axes.add_patch(Circle((0, 0), 1, facecolor="none", edgecolor=INK, linewidth=0.8, alpha=0.6))
    axes.scatter(*points[~below].T, c=colours[~below], s=34)
    axes.scatter(*points[below].T, facecolors="none", edgecolors=colours[below], s=34, linewidths=1.4)
    for text, (x, y) in {"R": (1.08, 0), "L": (-1.08, 0), "A": (0, 1.08), "P": (0, -1.08)}.items():
        axes.text(x, y, text, color=INK, ha="center", va="center", fontsize=9)
    axes.set_xlim(-1.18, 1.18)
    axes.set_ylim(-1.18, 1.18)
    axes.set_aspect("equal")
    axes.set_axis_off()
