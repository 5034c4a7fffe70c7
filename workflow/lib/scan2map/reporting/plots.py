"""Figures of the learned systems' validation: the same bytes every time, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pyplot():
    """matplotlib.pyplot without a display, with small type and reproducible identifiers."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "scan2map", "font.size": 9})
    import matplotlib.pyplot as plt

    return plt


def save_figure(figure: Figure, path) -> None:
    """Write a figure without date or program, under a temporary name first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(partial, dpi=150, metadata=metadata, format=path.suffix[1:])
    partial.replace(path)
    pyplot().close(figure)
