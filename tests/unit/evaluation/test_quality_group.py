"""The quality rows of a study: one per scan, with their data dictionary."""

import json

import pandas as pd
import pytest

from scan2map.derivative_tables import write_frame
from scan2map.evaluation.inputs import assessed_scans
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.quality_group import gather_quality

WORDS = {"snr": {"Description": "Signal over noise", "Units": "1", "TrustedRange": "above 10"}}


def write_row(path, snr, words=WORDS):
    write_frame(path, pd.DataFrame({"snr": [snr]}), words, step="assess_dwi", description="Quality")
    return path


def test_one_row_per_scan_with_its_labels_and_words(tmp_path):
    tables = [write_row(tmp_path / f"{name}.tsv", snr) for name, snr in (("a", 12.5), ("b", float("nan")))]
    gather_quality(tables, [("01", "1"), ("02", "1")], tmp_path / "group.tsv")
    table = read_table(tmp_path / "group.tsv")
    assert table.columns.tolist() == ["subject", "session", "snr"]
    assert table["subject"].tolist() == ["01", "02"]
    assert table["snr"][0] == 12.5
    assert pd.isna(table["snr"][1])
    words = json.loads((tmp_path / "group.json").read_text())
    assert words["snr"] == WORDS["snr"]
    assert "Description" in words["subject"]


def test_a_study_without_scans_has_a_table_without_rows(tmp_path):
    gather_quality([], [], tmp_path / "group.tsv")
    assert read_table(tmp_path / "group.tsv").columns.tolist() == ["subject", "session"]


def test_a_table_too_many_is_noticed(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        gather_quality([write_row(tmp_path / "a.tsv", 1.0)], [], tmp_path / "group.tsv")


def test_perfusion_is_judged_where_there_is_a_t1w_image_and_diffusion_everywhere():
    found = {"anat": [("01", "1")], "dwi": [("01", "1"), ("02", "1")], "asl": [("01", "1"), ("02", "1")]}
    assert assessed_scans("dwi", found.get) == [("01", "1"), ("02", "1")]
    assert assessed_scans("asl", found.get) == [("01", "1")]
