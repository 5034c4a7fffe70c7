"""Agreement of opposed b = 0 images."""

import numpy as np
import pytest
from synthetic_tree import Tree, write_session

from scan2map.errors import DataError
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.opposed import compare_opposed, opposed_files, opposed_rows, relative_difference
from scan2map.images import Image


def test_correction_raises_the_correlation(tmp_path):
    derivative, _ = write_session(Tree(tmp_path), modalities=("dwi",))
    out = tmp_path / "opposed.tsv"
    files = opposed_files(derivative, lambda modality: True)
    compare_opposed(files, out, subject="01", session="1", settings={"edge_voxels": 1})
    values = read_table(out).set_index(["metric", "statistic"])["value"]
    assert values["opposed_b0_corrected", "pearson_r"] == pytest.approx(1)
    assert values["opposed_b0_uncorrected", "pearson_r"] < 0.95
    assert values["opposed_b0_corrected", "relative_difference"] == pytest.approx(0.01 / 1.005, rel=1e-3)


def test_a_session_without_diffusion_gives_an_empty_table(tmp_path):
    out = tmp_path / "opposed.tsv"
    compare_opposed(opposed_files(None, lambda modality: False), out, subject="01", session="1", settings={})
    assert read_table(out).empty


def test_one_direction_only_is_refused():
    with pytest.raises(DataError, match="two phase-encoding"):
        list(opposed_rows(Image(np.ones((2, 2, 2, 1)), np.eye(4)), np.ones((2, 2, 2), bool), "corrected"))


def test_relative_difference_of_twice_the_signal():
    assert relative_difference(np.full(5, 2.0), np.full(5, 4.0)) == pytest.approx(2 / 3)
