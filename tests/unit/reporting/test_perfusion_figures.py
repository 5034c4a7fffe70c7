"""Histogram and carpet of a perfusion scan: what is in them, by hand."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as Pillow

from scan2map.errors import DataError
from scan2map.images import save_image
from scan2map.reporting.figures.perfusion import difference_carpet, thinned, tissue_groups, tissue_histogram
from scan2map.reporting.figures.scenes import Style

SVG = "{http://www.w3.org/2000/svg}"
MAPS = {"mask": "asl_mask", "GM": "asl_gm", "WM": "asl_wm", "CSF": "asl_csf"}
CARPET = MAPS | {"series": "asl_series", "labelling": "asl_labelling", "pairs": "asl_pairs", "m0": "m0"}


def inputs_of(session_tree, names):
    return {key: session_tree.files[name] for key, name in names.items()}


def test_histogram_peaks_where_each_tissue_lies(session_tree):
    (chart,) = tissue_histogram(inputs_of(session_tree, MAPS | {"map": "cbf"}), {"alt": "flow"}, Style(3, 400))
    root = ElementTree.fromstring(chart)
    lines = [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
             for line in root.findall(f"{SVG}polyline")]  # fmt: skip
    assert len(lines) == 3
    peaks = [min(line, key=lambda point: point[1])[0] for line in lines]  # the highest point has the smallest y
    assert peaks[0] > peaks[1] > peaks[2]
    labels = [text.text for text in root.findall(f"{SVG}text")]
    assert {"GM", "WM", "CSF", "CBF (ml/100 g/min)", "voxels (%)"} <= set(labels)


def test_carpet_shows_the_outlier_in_its_column(session_tree):
    (picture,) = difference_carpet(inputs_of(session_tree, CARPET), {"alt": "carpet"}, Style(3, 900))
    pixels = np.asarray(Pillow.open(io.BytesIO(picture.content)).convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    inside = pixels[int(0.3 * height) : int(0.8 * height), int(0.07 * width) : int(0.9 * width)]
    redness = [part[..., 0].mean() - part[..., 2].mean() for part in np.array_split(inside, 3, axis=1)]
    assert redness[1] > max(redness[0], redness[2]) + 10


def test_groups_are_mostly_one_tissue(session_tree):
    groups = tissue_groups(inputs_of(session_tree, MAPS))
    assert set(groups) == {"GM", "WM", "CSF"}
    assert not (groups["GM"] & groups["WM"]).any()


def test_rows_are_thinned_to_the_height_of_the_picture():
    values = np.arange(6000.0)[:, None]
    assert len(thinned(values, 6000)) == pytest.approx(900, abs=60)
    assert len(thinned(values[:100], 100)) == 100


def test_a_scan_without_pure_tissue_is_told(session_tree, tmp_path):
    inputs = inputs_of(session_tree, CARPET | {"map": "cbf"})
    save_image(tmp_path / "empty.nii.gz", np.zeros((22, 26, 18)), np.eye(4))
    inputs |= dict.fromkeys(("GM", "WM", "CSF"), tmp_path / "empty.nii.gz")
    for figure in (tissue_histogram, difference_carpet):
        with pytest.raises(DataError, match="No voxel is mostly one tissue"):
            figure(inputs, {"alt": ""}, Style(3, 400))
