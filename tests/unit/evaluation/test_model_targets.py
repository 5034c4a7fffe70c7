"""Validation tables of models: the right rows, paired intervals over subjects, verdicts."""

import numpy as np
import pandas as pd
import pytest
import yaml

from scan2map.errors import SettingError
from scan2map.evaluation.model_table import model_table
from scan2map.evaluation.model_targets import measure, validate_model
from scan2map.evaluation.targets import load_model_targets, target_variants

SETTINGS = {"confidence": 0.95, "resamples": 999, "seed": 1}
BASE = {"description": "d", "metric": "rmse", "op": "<=", "number": 0.7, "unit": "1"}


def targets(tmp_path, *entries):
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump({"targets": [BASE | entry for entry in entries]}))
    return path


@pytest.fixture
def table():
    """Subjects differ a lot; within each, the network's error is exactly half of least squares'."""
    rng = np.random.default_rng(0)
    rows = []
    for subject, scale in enumerate(rng.uniform(1, 100, size=12)):
        for method, factor in (("network", 0.5), ("ls", 1.0)):
            for seed in (0, 1):
                value = factor * scale + (0.1 if seed else -0.1)
                rows.append(
                    {"subject": f"{subject:02d}", "method": method, "metric": "rmse", "unit": "1", "value": value}
                )
    return model_table(rows).assign(variant="own")


def test_a_paired_ratio_has_no_spread_where_every_subject_agrees(tmp_path, table):
    (target,) = load_model_targets(targets(tmp_path, {"id": "a", "over": {"method": "ls"}}), "own")
    found = measure(target, table, SETTINGS)
    assert found == pytest.approx((0.5, 0.5, 0.5), abs=1e-9)


def test_a_difference_and_its_interval_against_scipy(tmp_path, table):
    from scipy import stats

    entry = {"id": "a", "over": {"method": "ls"}, "difference": True}
    (target,) = load_model_targets(targets(tmp_path, entry), "own")
    means = table.groupby(["method", "subject"])["value"].mean()
    difference = (means["network"] - means["ls"]).to_numpy()
    found = measure(target, table, SETTINGS)
    t = stats.t.interval(0.95, len(difference) - 1, difference.mean(), stats.sem(difference))
    assert found.value == pytest.approx(difference.mean())
    assert found.low == pytest.approx(t[0], rel=0.15)
    assert found.high == pytest.approx(t[1], rel=0.25)


def test_rows_are_told_apart_by_condition_and_variant(tmp_path, table):
    other = table.assign(condition="snr=2", value=table["value"] * 10)
    (plain, noisy) = load_model_targets(targets(tmp_path, {"id": "a"}, {"id": "b", "condition": "snr=2"}), "own")
    both = pd.concat([table, other])
    assert measure(noisy, both, SETTINGS).value == pytest.approx(10 * measure(plain, both, SETTINGS).value)
    assert measure({**plain, "variant": "another"}, both, SETTINGS) is None


def test_the_table_says_met_not_met_and_not_measured(tmp_path, table):
    from scan2map.evaluation.long_table import write_table

    write_table(table, tmp_path / "evaluation.tsv")
    entries = targets(
        tmp_path,
        {"id": "met", "over": {"method": "ls"}},
        {"id": "not", "over": {"method": "ls"}, "number": 0.4},
        {"id": "absent", "metric": "nothing"},
        {"id": "told", "op": "none"},
    )
    validate_model(
        [tmp_path / "evaluation.tsv"], tmp_path / "out.tsv", targets=entries, variant="own", settings=SETTINGS
    )
    found = pd.read_csv(tmp_path / "out.tsv", sep="\t", keep_default_na=False).set_index("id")
    assert list(found["met"]) == ["yes", "no", "no", ""]
    assert found.loc["absent", "value"] == ""


def test_targets_name_the_variants_that_must_be_trained(tmp_path):
    path = targets(tmp_path, {"id": "a"}, {"id": "b", "variant": "film", "over": {"variant": "groupnorm"}})
    assert target_variants(path, "shipped") == ["shipped", "film", "groupnorm"]
    assert target_variants(tmp_path / "none.yaml", "shipped") == ["shipped"]


@pytest.mark.parametrize("wrong", [{"id": "a", "typo": 1}, {"id": "a", "over": {"number": 1}}, {"id": "a", "op": "<"}])
def test_entries_that_are_not_valid_are_refused(tmp_path, wrong):
    with pytest.raises(SettingError, match="not valid"):
        load_model_targets(targets(tmp_path, wrong), "own")
