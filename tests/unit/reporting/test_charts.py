"""Charts are valid SVG with points where the values are."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from scan2map.reporting.charts import Scale, line_chart, strip_plot, ticks

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.03, 0.021), (17, 2300), (0.61, 0.65)])
def test_ticks_are_round_and_inside(low, high):
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 9
    assert low - 1e-9 <= min(marks) <= max(marks) <= high + 1e-9
    assert all(len(f"{mark:g}") <= 6 for mark in marks)


def test_scale_maps_ends_and_middle():
    scale = Scale(10, 20, 100, 0)
    assert [scale(10), scale(15), scale(20)] == [100, 50, 0]


def test_strip_plot_places_points_by_value_and_names_them():
    groups = {"GM": {"sub-01": 1.0, "sub-02": 3.0}, "WM": {"sub-01": 2.0}, "CSF": {}}
    root = ElementTree.fromstring(strip_plot(groups, title="FA", x_label="FA"))
    points = root.findall(f"{SVG}circle")
    assert len(points) == 3
    first, last, middle = (float(point.get("cx")) for point in points)
    assert middle == pytest.approx((first + last) / 2, abs=0.11)
    assert points[1].find(f"{SVG}title").text == "sub-02: 3"
    assert len(root.findall(f"{SVG}line[@class='median']")) == 2


def test_line_chart_has_one_line_per_series():
    series = {"x": np.linspace(0, 1, 5), "y": np.zeros(5)}
    root = ElementTree.fromstring(line_chart(series, title="Motion", y_label="mm", x_label="volume"))
    lines = root.findall(f"{SVG}polyline")
    assert [len(line.get("points").split()) for line in lines] == [5, 5]
    heights = [float(pair.split(",")[1]) for pair in lines[0].get("points").split()]
    assert heights == sorted(heights, reverse=True)


def test_words_are_escaped():
    chart = strip_plot({"<b>": {"<script>": 1.0}}, title='"x" < y', x_label="a & b")
    ElementTree.fromstring(chart)
    assert not re.search("<script>|<b>", chart)
