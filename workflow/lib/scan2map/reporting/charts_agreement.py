"""Charts of agreement: difference over mean with limits, and observed over nominal coverage, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from scan2map.reporting.charts import (
    BOTTOM,
    COLOURS,
    LEFT,
    RIGHT,
    TOP,
    Point,
    Scale,
    circle,
    horizontal_grid,
    limits,
    svg,
    text,
    ticks,
)  # fmt: skip

WIDTH, HEIGHT = 440, 300
LEGEND_STEP = 90


def _axes(across: Scale, up: Scale, x_label: str, y_label: str) -> list[str]:
    parts = horizontal_grid(up, y_label, width=WIDTH, count=5)
    for value in ticks(across.low, across.high, 5):
        parts.append(text(across(value), HEIGHT - BOTTOM + 16, f"{value:g}"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, x_label))
    return parts


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for place, name in enumerate(names):
        x = LEFT + 8 + LEGEND_STEP * place
        parts.append(f'<circle class="c{place % COLOURS}" cx="{x}" cy="{TOP}" r="4"/>')
        parts.append(text(x + 8, TOP + 4, name, anchor="start"))
    return parts


def agreement_chart(
    groups: Mapping[str, Sequence[tuple[float, Point]]],
    lines: Mapping[str, tuple[float, float, float]],
    *,
    title: str,
    unit: str,
) -> Markup:
    """Difference of two methods over their mean, with bias and limits of agreement. Bland and Altman 1986.

    Args:
        groups: per region the mean of both methods and the point whose value is their difference.
        lines: per region bias, lower and upper limit.
        title: for readers who do not see the chart.
        unit: of both axes.
    """
    means = np.array([mean for points in groups.values() for mean, _ in points])
    differences = [point.value for points in groups.values() for _, point in points]
    ends = np.array(differences + [value for three in lines.values() for value in three] + [0.0])
    across, up = Scale(*limits(means), LEFT, WIDTH - RIGHT), Scale(*limits(ends), HEIGHT - BOTTOM, TOP + 14)
    unit = f" ({unit})" if unit else ""
    parts = _axes(across, up, f"mean of both{unit}", f"difference{unit}") + _legend(list(groups))
    for place, (name, points) in enumerate(groups.items()):
        colour = f"c{place % COLOURS}"
        for value, dash in zip(lines.get(name, ()), ("", "5 4", "5 4"), strict=False):
            y = up(value)
            parts.append(
                f'<line class="{colour}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke-width="1.4" stroke-dasharray="{dash}"/>'
            )
        parts += [circle(point, across(mean), up(point.value), colour) for mean, point in points]
    return svg(WIDTH, HEIGHT, title, parts)


def calibration_chart(
    lines: Mapping[str, Sequence[tuple[float, float, float, float]]],
    sources: Mapping[str, Sequence[str]],
    *,
    title: str,
) -> Markup:
    """Observed share of the truth inside intervals over their nominal level, beside the line of a calibrated model.

    Args:
        lines: per region nominal level, observed share, and the ends of its interval over subjects (0 to 1).
        sources: per region the cells of the observed shares.
        title: for readers who do not see the chart.
    """
    across, up = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP + 14)
    parts = _axes(across, up, "nominal level", "share inside") + _legend(list(lines))
    parts.append(f'<line class="median" x1="{across(0):.1f}" y1="{up(0):.1f}" x2="{across(1):.1f}" y2="{up(1):.1f}"/>')
    for place, (name, rows) in enumerate(lines.items()):
        colour = f"c{place % COLOURS}"
        path = " ".join(f"{across(level):.1f},{up(share):.1f}" for level, share, *_ in rows)
        parts.append(f'<polyline class="{colour}" fill="none" stroke-width="1.6" points="{path}"/>')
        for (level, share, low, high), source in zip(rows, sources[name], strict=True):
            if np.isfinite(low):
                x = across(level)
                parts.append(
                    f'<line class="{colour}" x1="{x:.1f}" x2="{x:.1f}" y1="{up(low):.1f}" y2="{up(high):.1f}"/>'
                )
            label = f"{escape(name)}, nominal {level:.2g}"
            parts.append(circle(Point(label, share, source=source), across(level), up(share), colour))
    return svg(WIDTH, HEIGHT, title, parts)
