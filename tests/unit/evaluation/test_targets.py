"""The validation table: measurement, interval, verdict."""

import pandas as pd
import pytest
import yaml

from scan2map.errors import DataError, SettingError
from scan2map.evaluation.long_table import COLUMNS as LONG_COLUMNS
from scan2map.evaluation.long_table import read_table, write_table
from scan2map.evaluation.rail import COLUMNS, load_targets, merge_validation, validate_rail

SETTINGS = {"confidence": 0.95, "resamples": 500, "seed": 1}
TARGET = {
    "id": "fa", "description": "FA error", "study": "phantom", "roi": "WM", "metric": "FA", "statistic": "bias",
    "aggregation": "mean", "op": "<=", "number": 0.1, "unit": "1",
}  # fmt: skip


def write_targets(tmp_path, *targets):
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump({"targets": [TARGET | target for target in targets]}))
    return path


def long_rows(tmp_path, *values):
    rows = [
        {"subject": f"{index:02}", "session": "1", "roi": "WM", "metric": "FA", "statistic": "bias", "value": value,
         "unit": "1", "n_voxels": 10, "coverage": 1.0}
        for index, value in enumerate(values)
    ]  # fmt: skip
    path = tmp_path / "long.tsv"
    write_table(pd.DataFrame(rows, columns=list(LONG_COLUMNS)), path)
    return path


def validate(tmp_path, targets, *values, kinds=("phantom",)):
    out = tmp_path / "rail.tsv"
    validate_rail([long_rows(tmp_path, *values)], out, targets=targets, kinds=kinds, settings=SETTINGS)
    return read_table(out)


def test_columns_and_a_met_target(tmp_path):
    table = validate(tmp_path, write_targets(tmp_path, {}), 0.02, 0.04, 0.06)
    assert tuple(table.columns) == COLUMNS
    row = table.iloc[0]
    assert (row["value"], row["met"], row["target"]) == (0.04, "yes", "<= 0.1")
    assert 0.02 <= row["ci_low"] < 0.04 < row["ci_high"] <= 0.06


def test_a_missed_target_and_its_unit(tmp_path):
    row = validate(tmp_path, write_targets(tmp_path, {"op": ">=", "number": 5, "unit": "Hz"}), 1.0).iloc[0]
    assert (row["met"], row["target"]) == ("no", ">= 5 Hz")
    assert pd.isna(pd.to_numeric(row["ci_low"]))


def test_a_target_without_a_measurement_is_not_met(tmp_path):
    row = validate(tmp_path, write_targets(tmp_path, {"roi": "GM"}), 0.01).iloc[0]
    assert row["met"] == "no"


def test_a_figure_without_a_target_has_no_verdict(tmp_path):
    targets = write_targets(tmp_path, {"op": "none", "number": None, "unit": "Hz"})
    row = validate(tmp_path, targets, 0.25, 0.75).iloc[0]
    assert (row["value"], row["target"]) == (0.5, "reported, Hz")
    assert row["met"] == "" or pd.isna(row["met"])


def test_only_targets_of_the_kind_of_study(tmp_path):
    targets = write_targets(tmp_path, {}, {"id": "scan", "study": "scan"}, {"id": "both", "study": "any"})
    assert [target["id"] for target in load_targets(targets, ["scan"])] == ["scan", "both"]


@pytest.mark.parametrize("broken", [[{"op": "<"}], [{"surplus": 1}], [{}, {}]])
def test_a_broken_table_of_targets_is_refused(tmp_path, broken):
    with pytest.raises(SettingError, match="targets is not valid"):
        load_targets(write_targets(tmp_path, *broken), ["phantom"])


def test_an_entry_stands_for_every_combination_of_its_values(tmp_path):
    each = {"roi": ["GM", "WM"], "snr": [2, 5]}
    path = write_targets(tmp_path, {"id": "cbf-{roi}-{snr}", "roi": "{roi}", "metric": "snr{snr}:CBF", "each": each})
    found = load_targets(path, ("phantom",))
    assert [(one["id"], one["roi"], one["metric"]) for one in found] == [
        ("cbf-GM-2", "GM", "snr2:CBF"), ("cbf-GM-5", "GM", "snr5:CBF"),
        ("cbf-WM-2", "WM", "snr2:CBF"), ("cbf-WM-5", "WM", "snr5:CBF"),
    ]  # fmt: skip
    assert {one["number"] for one in found} == {0.1}


def test_merging_keeps_rows_and_refuses_doubles(tmp_path):
    first = write_targets(tmp_path, {})
    validate(tmp_path, first, 0.02, 0.04)
    other = tmp_path / "other.tsv"
    read_table(tmp_path / "rail.tsv").assign(id="other").to_csv(other, sep="\t", index=False)
    merge_validation([tmp_path / "rail.tsv", other], tmp_path / "merged.tsv")
    assert read_table(tmp_path / "merged.tsv")["id"].tolist() == ["fa", "other"]
    with pytest.raises(DataError, match="same figure"):
        merge_validation([other, other], tmp_path / "merged.tsv")


def test_merging_nothing_is_refused(tmp_path):
    with pytest.raises(SettingError, match="nothing to merge"):
        merge_validation([], tmp_path / "merged.tsv")


def test_the_shipped_targets_are_valid(pytestconfig):
    path = pytestconfig.rootpath / "workflow/report/targets/rail.yaml"
    assert {target["study"] for target in load_targets(path, ["phantom"])} == {"phantom"}
    assert len(load_targets(path, ["scan"])) >= 3
