"""The quality table: the steps' own figures and the agreement of opposed b = 0 images."""

import json

import numpy as np
import pytest
from synthetic_tree import Tree, write_session

from scan2map.evaluation.inputs import quality_files
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.quality import opposed_rows, relative_difference, tabulate_quality
from scan2map.images import Image


def tabulate(tmp_path, modalities):
    derivative, _ = write_session(Tree(tmp_path), modalities=modalities)
    out = tmp_path / "quality.tsv"
    files = quality_files(derivative, lambda modality: modality in modalities)
    tabulate_quality(files, out, subject="01", session="1", settings={"edge_voxels": 1})
    return out


def test_correction_raises_the_correlation(tmp_path):
    values = read_table(tabulate(tmp_path, ("dwi",))).set_index(["metric", "statistic"])["value"]
    assert values["opposed_b0_corrected", "pearson_r"] == pytest.approx(1)
    assert values["opposed_b0_uncorrected", "pearson_r"] < 0.95
    assert values["opposed_b0_corrected", "relative_difference"] == pytest.approx(0.01 / 1.005, rel=1e-3)


def test_figures_of_the_steps_keep_their_values_and_words(tmp_path):
    out = tabulate(tmp_path, ("anat", "asl"))
    table = read_table(out)
    assert table[["metric", "value"]].values.tolist() == [["asl_gm_cbf", 60.0]]
    metrics = json.loads(out.with_suffix(".json").read_text())["Metrics"]
    assert metrics["asl_gm_cbf"]["Description"] == "gm cbf"


def test_without_a_t1w_image_diffusion_is_judged_and_perfusion_is_not(tmp_path):
    metrics = set(read_table(tabulate(tmp_path, ("dwi", "asl")))["metric"])
    assert {"opposed_b0_uncorrected", "opposed_b0_corrected", "dwi_outlier_slices_percent"} <= metrics
    assert not [name for name in metrics if name.startswith("asl")]


def test_a_session_without_modalities_gives_an_empty_table(tmp_path):
    assert read_table(tabulate(tmp_path, ())).empty


def test_one_direction_has_nothing_to_compare():
    single = Image(np.ones((2, 2, 2, 1)), np.eye(4))
    assert not list(opposed_rows(single, np.ones((2, 2, 2), bool), "corrected"))


def test_relative_difference_of_twice_the_signal():
    assert relative_difference(np.full(5, 2.0), np.full(5, 4.0)) == pytest.approx(2 / 3)
