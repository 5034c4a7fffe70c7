"""Charts of head motion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from scan2map.errors import DataError
from scan2map.evaluation.long_table import read_table
from scan2map.reporting.charts import line_chart
from scan2map.reporting.figures.scenes import Style

TRANSLATIONS = ("trans_x", "trans_y", "trans_z")
ROTATIONS = ("rot_x", "rot_y", "rot_z")
STEP = "framewise_displacement"


def head_motion(inputs: Mapping[str, str], options: Mapping, style: Style) -> list[Markup]:
    """Charts per volume: translations (mm), rotations (degrees) and, where it is known, framewise displacement (mm).

    Args:
        inputs: ``motion``: table with ``trans_x`` ... mm and ``rot_x`` ... radians.
        options: ``alt``.
        style: not used; charts scale with the page.

    Raises:
        DataError: a column is missing.
    """
    table = read_table(inputs["motion"])
    missing = [name for name in (*TRANSLATIONS, *ROTATIONS) if name not in table]
    if missing:
        raise DataError("The motion table lacks columns", file=inputs["motion"], found=", ".join(missing))
    shift = {name[-1]: table[name].to_numpy() for name in TRANSLATIONS}
    turn = {name[-1]: np.degrees(table[name].to_numpy()) for name in ROTATIONS}
    charts = [
        line_chart(shift, title=f"{options['alt']}: translation", y_label="translation (mm)", x_label="volume"),
        line_chart(turn, title=f"{options['alt']}: rotation", y_label="rotation (°)", x_label="volume"),
    ]
    if STEP in table:
        step, words = {"sum": table[STEP].to_numpy()}, f"{options['alt']}: framewise displacement"
        charts.append(line_chart(step, title=words, y_label="displacement (mm)", x_label="volume"))
    return charts
