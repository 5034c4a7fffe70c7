"""Charts are valid SVG with points where the values are."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from scan2map.reporting.charts import Point, Scale, line_chart, strip_plot, ticks
from scan2map.reporting.charts_agreement import agreement_chart, calibration_chart

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
    far = Point("sub-02", 3.0, href="sub-02.html", source="t.tsv#cell=3,6", far=True)
    groups = {"GM": [Point("sub-01", 1.0), far], "WM": [Point("sub-01", 2.0)], "CSF": []}
    root = ElementTree.fromstring(strip_plot(groups, title="FA", x_label="FA"))
    points = list(root.iter(f"{SVG}circle"))
    assert len(points) == 3
    first, last, middle = (float(point.get("cx")) for point in points)
    assert middle == pytest.approx((first + last) / 2, abs=0.11)
    assert points[1].find(f"{SVG}title").text == "sub-02: 3, far from the others"
    assert points[1].get("data-source") == "t.tsv#cell=3,6"
    assert root.find(f"{SVG}a").get("href") == "sub-02.html"
    assert len(root.findall(f"{SVG}line[@class='median']")) == 2


def test_line_chart_has_one_line_per_series():
    series = {"x": np.linspace(0, 1, 5), "y": np.zeros(5)}
    root = ElementTree.fromstring(line_chart(series, title="Motion", y_label="mm", x_label="volume"))
    lines = root.findall(f"{SVG}polyline")
    assert [len(line.get("points").split()) for line in lines] == [5, 5]
    heights = [float(pair.split(",")[1]) for pair in lines[0].get("points").split()]
    assert heights == sorted(heights, reverse=True)


def test_words_are_escaped():
    chart = strip_plot({"<b>": [Point("<script>", 1.0, href='"><b>')]}, title='"x" < y', x_label="a & b")
    ElementTree.fromstring(chart)
    assert not re.search("<script>|<b>", chart)


def test_agreement_chart_draws_bias_and_limits_of_each_region():
    points = [(10.0, Point("a", 1.0)), (20.0, Point("b", 3.0)), (30.0, Point("c", 2.0))]
    root = ElementTree.fromstring(agreement_chart({"GM": points}, {"GM": (2.0, 0.0, 4.0)}, title="t", unit="s"))
    heights = {
        line.get("stroke-dasharray"): float(line.get("y1"))
        for line in root.iter(f"{SVG}line")
        if line.get("class") == "c0"
    }
    circles = [
        float(circle.get("cy")) for circle in root.iter(f"{SVG}circle") if circle.find(f"{SVG}title") is not None
    ]
    assert heights[""] == pytest.approx(circles[2], abs=0.11)
    assert circles[1] < circles[2] < circles[0]


def test_calibrated_lines_lie_on_the_diagonal():
    rows = [(level, level, level - 0.1, level + 0.1) for level in (0.5, 0.9)]
    root = ElementTree.fromstring(calibration_chart({"GM": rows}, {"GM": ["t.tsv#cell=2,6", ""]}, title="t"))
    diagonal = root.find(f"{SVG}line[@class='median']")
    ends = [float(diagonal.get(name)) for name in ("x1", "y1", "x2", "y2")]
    slope = (ends[3] - ends[1]) / (ends[2] - ends[0])
    for circle in (item for item in root.iter(f"{SVG}circle") if item.find(f"{SVG}title") is not None):
        expected = ends[1] + slope * (float(circle.get("cx")) - ends[0])
        assert float(circle.get("cy")) == pytest.approx(expected, abs=0.2)
