"""Result folders describe themselves as BIDS derivatives."""

import json

import pytest

from scan2map.bids.derivatives import write_description


@pytest.mark.parametrize(("dataset", "word"), [("scan2map", "Maps"), ("phantom", "simulated")])
def test_description_names_a_derivative(tmp_path, dataset, word):
    write_description(tmp_path / "dataset_description.json", dataset)
    content = json.loads((tmp_path / "dataset_description.json").read_text())
    assert content["DatasetType"] == "derivative"
    assert word in content["Name"]
