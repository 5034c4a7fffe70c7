"""Small charts as inline SVG that follow the page's colours: no picture files, readable when printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 760, 190
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 14, 34
# The page gives the classes c0, c1, ... colours that fit its light and dark theme.
COLOURS = 6
# Strip plots stand two beside each other.
STRIP_WIDTH = 440
ROW_HEIGHT = 34
JITTER = 0.28


@dataclass(frozen=True)
class Point:
    """One value of a chart.

    Attributes:
        label: what it is of (session).
        value: the number.
        href: page that it leads to.
        source: table cell that it comes from.
        far: whether it lies far from the others.
    """

    label: str
    value: float
    href: str = ""
    source: str = ""
    far: bool = False


def circle(point: Point, x: float, y: float, colour: str) -> str:
    """A point that tells its name and value when pointed at, and leads to its page."""
    kind = f"{colour} far" if point.far else colour
    source = f' data-source="{escape(point.source)}"' if point.source else ""
    words = f"{escape(point.label)}: {point.value:.4g}{', far from the others' if point.far else ''}"
    drawn = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.2"{source}><title>{words}</title></circle>'
    return f'<a href="{escape(point.href)}">{drawn}</a>' if point.href else drawn


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two ends, about ``count`` of them."""
    raw = (high - low) / max(count - 1, 1)
    magnitude = 10.0 ** np.floor(np.log10(raw))
    step = magnitude * min((1, 2, 2.5, 5, 10), key=lambda factor: abs(factor * magnitude - raw))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(f"{place * step:.6g}") for place in range(first, last + 1)]


def limits(values: np.ndarray) -> tuple[float, float]:
    """Ends of an axis that holds some values, with room beside them."""
    low, high = float(np.min(values)), float(np.max(values))
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - pad, high + pad


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> Markup:
    """A chart from its parts, with words for readers who do not see it."""
    role = "group" if any("<a " in part for part in parts) else "img"
    head = (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="{role}" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
    )
    return Markup(head + "".join(parts) + "</svg>")


def text(x: float, y: float, words: str, *, anchor: str = "middle", extra: str = "") -> str:
    """A text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def horizontal_grid(scale: Scale, label: str, *, width: float, count: int) -> list[str]:
    """Lines across a chart at about ``count`` values, with their numbers, and the title of that axis."""
    parts = []
    for value in ticks(scale.low, scale.high, count):
        y = scale(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(LEFT - 6, y + 4, f"{value:g}", anchor="end"))
    middle = (scale.start + scale.end) / 2
    parts.append(text(14, middle, label, extra=f' transform="rotate(-90 14 {middle:.1f})"'))
    return parts


def line_chart(
    series: Mapping[str, Sequence[float]], *, title: str, y_label: str, x_label: str, x: Sequence[float] | None = None
) -> Markup:
    """Lines over the index of their values (volume number), or over given places.

    Args:
        series: name to values, all of the same length.
        title: for readers who do not see the chart.
        y_label, x_label: axis titles with unit.
        x: ascending places of the values.
    """
    values = {name: np.asarray(line, dtype=float) for name, line in series.items()}
    places = np.arange(len(next(iter(values.values())))) if x is None else np.asarray(x, dtype=float)
    vertical = Scale(*limits(np.concatenate(list(values.values()))), HEIGHT - BOTTOM, TOP)
    horizontal = Scale(float(places[0]), float(max(places[-1], places[0] + 1)), LEFT, WIDTH - RIGHT)
    parts = horizontal_grid(vertical, y_label, width=WIDTH, count=4)
    for value in filter(float.is_integer, ticks(horizontal.low, horizontal.high, 8)):
        parts.append(text(horizontal(value), HEIGHT - BOTTOM + 16, f"{value:g}"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, x_label))
    for place, (name, line) in enumerate(values.items()):
        points = " ".join(f"{horizontal(a):.1f},{vertical(b):.1f}" for a, b in zip(places, line, strict=True))
        colour = f"c{place % COLOURS}"
        parts.append(f'<polyline class="{colour}" fill="none" stroke-width="1.6" points="{points}"/>')
        key = LEFT + 8 + 56 * place
        parts.append(f'<line class="{colour}" x1="{key}" x2="{key + 16}" y1="{TOP}" y2="{TOP}" stroke-width="3"/>')
        parts.append(text(key + 20, TOP + 4, name, anchor="start"))
    return svg(WIDTH, HEIGHT, title, parts)


def strip_plot(groups: Mapping[str, Sequence[Point]], *, title: str, x_label: str) -> Markup:
    """One row of points per group, with the median as a bar.

    Args:
        groups: group (tissue) to its points (sessions).
        title: for readers who do not see the chart.
        x_label: axis title with unit.
    """
    groups = {name: points for name, points in groups.items() if points}
    height = TOP + ROW_HEIGHT * len(groups) + BOTTOM
    everything = np.array([point.value for points in groups.values() for point in points])
    scale = Scale(*limits(everything), LEFT, STRIP_WIDTH - RIGHT)
    parts = []
    for value in ticks(scale.low, scale.high, 5):
        x = scale(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(text(x, height - BOTTOM + 16, f"{value:g}"))
    for row, (name, points) in enumerate(groups.items()):
        parts += _strip_row(name, points, scale, TOP + ROW_HEIGHT * (row + 0.5), f"c{row % COLOURS}")
    parts.append(text((LEFT + STRIP_WIDTH - RIGHT) / 2, height - 3, x_label))
    return svg(STRIP_WIDTH, height, title, parts)


def _strip_row(name: str, points: Sequence[Point], scale: Scale, y: float, colour: str) -> list[str]:
    median = scale(float(np.median([point.value for point in points])))
    parts = [
        text(LEFT - 8, y + 4, name, anchor="end"),
        f'<line class="median" x1="{median:.1f}" x2="{median:.1f}" y1="{y - 11:.1f}" y2="{y + 11:.1f}"/>',
    ]
    for place, point in enumerate(points):
        shift = JITTER * ROW_HEIGHT * ((place % 5) - 2) / 2 if len(points) > 1 else 0
        parts.append(circle(point, scale(point.value), y + shift, colour))
    return parts
