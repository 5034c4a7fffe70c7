"""The BIDS validator runs offline and its findings become a table."""

import csv
import json

import pytest

from scan2map.bids.dataset import write_dataset_files
from scan2map.tools.validator import validate


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "bids"
    write_dataset_files(root, [], title="Nothing yet", ignored=["*_ct.*"])
    return root


def rows(table):
    with table.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_a_file_outside_the_standard_is_an_error(dataset, tmp_path):
    folder = dataset / "sub-01" / "perf"
    folder.mkdir(parents=True)
    (folder / "sub-01_nonsense.json").write_text("{}")
    (folder / "sub-01_acq-vsasl_asl.json").write_text(json.dumps({"ArterialSpinLabelingType": "VSASL"}))
    table = tmp_path / "table.tsv"
    assert validate(dataset, table) > 0
    errors = [row for row in rows(table) if row["severity"] == "error"]
    assert "/sub-01/perf/sub-01_nonsense.json" in {row["example"] for row in errors}
    assert "ArterialSpinLabelingType" not in {row["detail"] for row in errors}


def test_a_missing_description_is_an_error(tmp_path):
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids" / "README.md").write_text("nothing")
    assert validate(tmp_path / "bids", tmp_path / "table.tsv") > 0
