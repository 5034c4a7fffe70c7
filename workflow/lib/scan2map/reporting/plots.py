"""Figures for papers: one style, as vector graphic and as pixels, the same bytes every time, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scan2map.reporting.page import REPORT_FOLDER

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

STYLE = REPORT_FOLDER / "assets" / "figures.mplstyle"
# Nothing that differs from run to run: neither date nor program.
METADATA = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}


def pyplot():
    """matplotlib.pyplot without a display, in the style of the project's figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.style.use(STYLE)
    return plt


def image_of_voxels(rows: pd.DataFrame, column: str, *, border: int = 0) -> np.ndarray:
    """The voxels of a table as an image.

    Args:
        rows: with columns ``x``, ``y`` (whole numbers) and ``column``.
        column: what the image shows.
        border: empty voxels around the outermost ones.

    Returns:
        Image (y, x) that is as large as the voxels reach; NaN where the table has none.
    """
    import numpy as np

    x, y = (rows[axis] - rows[axis].min() + border for axis in ("x", "y"))
    image = np.full((y.max() + 1 + border, x.max() + 1 + border), np.nan)
    image[y, x] = rows[column]
    return image


def save_figure(figure: Figure, path) -> None:
    """Write a figure as SVG and as PNG, each under a temporary name first, and close it.

    Args:
        figure: to write.
        path: of one of the two; the other lies beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, metadata in METADATA.items():
        final = path.with_suffix(suffix)
        partial = final.with_name(f".partial-{final.name}")
        figure.savefig(partial, metadata=metadata, format=suffix[1:])
        partial.replace(final)
    pyplot().close(figure)
