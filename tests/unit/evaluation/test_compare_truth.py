"""Comparison with the truth on a tree whose errors are known."""

import numpy as np
import pytest
from synthetic_tree import READOUT_S, Tree, write_session

from scan2map.evaluation.inputs import truth_files
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.truth import axial_angle_deg, compare_truth, principal_direction

SETTINGS = {"tissue_threshold": 0.8, "max_b_value_s_per_mm2": 1500}


def compare(tmp_path, modalities=("anat", "dwi", "asl"), **errors):
    derivative, truth = write_session(Tree(tmp_path), modalities=modalities, **errors)
    out = tmp_path / "truth.tsv"
    files = truth_files(derivative, truth, lambda modality: modality in modalities)
    compare_truth(files, out, subject="01", session="1", settings=SETTINGS)
    return read_table(out).set_index(["roi", "metric", "statistic"])["value"]


def test_known_errors_come_back(tmp_path):
    values = compare(tmp_path, fa_error=0.04, field_error_hz=6.0, cbf_scale=1.1)
    assert values["WM", "FA", "bias"] == pytest.approx(0.04, rel=1e-4)
    assert values["GM", "FA", "root_mean_square_error"] == pytest.approx(0.04, rel=1e-4)
    assert values["WM", "MD", "mean_absolute_error"] == pytest.approx(0, abs=1e-9)
    assert values["brain", "field", "root_mean_square_error"] == pytest.approx(6.0, rel=1e-4)
    assert values["brain", "displacement", "bias"] == pytest.approx(6.0 * READOUT_S, rel=1e-4)
    assert values["GM", "CBF", "median_relative_error"] == pytest.approx(0.1, rel=1e-4)
    assert values["WM", "CBF", "ratio_of_means"] == pytest.approx(1.1, rel=1e-4)
    assert values["WM", "CBF", "relative_error_of_mean"] == pytest.approx(0.1, rel=1e-3)
    assert values["GM", "segmentation", "dice"] == 1


def test_maps_of_several_delays_stand_beside_those_of_one(tmp_path):
    values = compare(tmp_path, modalities=("anat", "asl", "multidelay"), att_error_s=0.15)
    assert values["WM", "ATT", "bias"] == pytest.approx(0.15, rel=1e-4)
    assert values["GM", "CBF_multidelay", "ratio_of_means"] == pytest.approx(0.9, rel=1e-4)
    assert values["GM", "CBF", "ratio_of_means"] == pytest.approx(1, rel=1e-4)


def test_the_plain_fit_of_undistorted_noise_free_signals_is_the_truth(tmp_path):
    values = compare(tmp_path, modalities=("dwi",))
    assert values["WM", "FA_uncorrected", "root_mean_square_error"] < 1e-5
    assert values["WM", "MD_uncorrected", "root_mean_square_error"] < 1e-8
    assert values["WM", "direction", "median_axial_angle"] == pytest.approx(0, abs=0.1)


def test_absent_modalities_are_absent_rows(tmp_path):
    values = compare(tmp_path, modalities=("anat",))
    assert set(values.index.get_level_values("metric")) == {"segmentation"}


def test_axial_angles_ignore_the_sign():
    first = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    second = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, np.sqrt(0.5), np.sqrt(0.5)]])
    assert axial_angle_deg(first, second) == pytest.approx([0, 90, 45])


def test_principal_direction_of_a_diagonal_tensor():
    tensor = np.array([[1.0, 0, 0, 3.0, 0, 2.0]])
    assert np.abs(principal_direction(tensor)) == pytest.approx(np.array([[0, 1.0, 0]]))
