"""The split table and the settings of a system: what they allow and what they refuse."""

import pytest
import toy_study
import yaml

from scan2map.errors import SettingError
from scan2map.training.settings import load_model, variant_of
from scan2map.training.split import read_split, require_parts, subjects
from scan2map.training.study import Learning

HEAD = "cohort\tsubject\tpart\tfold\n"


def table(tmp_path, *rows):
    path = tmp_path / "split.tsv"
    path.write_text(HEAD + "\n".join("\t".join(row) for row in rows) + "\n")
    return path


def test_the_shipped_splits_have_no_subject_twice_and_all_parts(root):
    tables = sorted((root / "config").rglob("split.tsv"))
    assert root / "config/split.tsv" in tables
    for table in tables:
        rows = read_split(table)
        for cohort, fold in {(row["cohort"], row["fold"]) for row in rows}:
            require_parts(rows, cohort, fold, table)
            parts = {part: set(subjects(rows, cohort, fold, part)) for part in ("train", "validation", "test")}
            assert not parts["train"] & parts["test"]
            assert not parts["validation"] & (parts["train"] | parts["test"])


def test_a_subject_in_two_parts_is_refused(tmp_path):
    path = table(tmp_path, ("phantom", "01", "train", ""), ("phantom", "01", "test", "main"))
    with pytest.raises(SettingError, match=r"in two parts.*01"):
        read_split(path)


def test_folds_and_cohorts_are_apart(tmp_path):
    path = table(
        tmp_path, ("phantom", "01", "train", "a"), ("phantom", "01", "test", "b"), ("study", "01", "test", "a")
    )
    rows = read_split(path)
    assert subjects(rows, "phantom", "b", "test") == ["01"]
    with pytest.raises(SettingError, match="nobody in the part 'test'"):
        require_parts(rows, "phantom", "a", path)


def write(folder, **content):
    (folder / "toy.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_a_variant_changes_settings_and_training_only(toy, tmp_path):
    small = {"settings": {"network": {"dropout": 0.5}}, "training": {"batch_size": 4}}
    model = load_model("toy", {}, write(tmp_path, variants={"small": small}))
    found = variant_of("toy", model, "small")
    assert found["settings"]["network"]["dropout"] == 0.5
    assert found["training"]["batch_size"] == 4
    assert variant_of("toy", model, "default")["settings"]["network"]["dropout"] == 0.1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"variants": {"small": {"settings": {"data": {"points": 3}}}}}, "changes what it may not"),
        ({"variants": {"small": {"compute": {"device": "cuda"}}}}, "changes what it may not"),
        ({"variants": {"small": {"settings": {"network": {"drop": 1}}}}}, "did you mean 'dropout'"),
        ({"variant": "absent"}, "not one of its variants"),
        ({"training": {"max_steps": 105, "checkpoint_every_steps": 10}}, "not a multiple"),
        ({"compute": {"devices": 3}, "training": {"batch_size": 16}}, "shared evenly"),
        ({"compute": {"precision": "int8"}}, "precision"),
    ],
)
def test_wrong_settings_are_refused(toy, tmp_path, content, message):
    with pytest.raises(SettingError, match=message):
        load_model("toy", {}, write(tmp_path, **content))


def test_the_study_wins_over_the_file(toy, tmp_path):
    write(tmp_path, training={"max_steps": 500})
    assert load_model("toy", {"training": {"max_steps": 1000}}, tmp_path)["training"]["max_steps"] == 1000


def learning(tmp_path, **toy):
    path = table(tmp_path, ("phantom", "A", "train", ""), ("phantom", "B", "test", ""))
    overrides = {"toy": {"package": "trained", **toy}}
    return Learning({"systems": ["toy"], "split": path, "overrides": overrides}, toy_study.TOY / "config/models")


def test_gpus_are_asked_for_only_when_the_settings_say_cuda(toy, tmp_path):
    assert learning(tmp_path).gpus("toy") == 0
    assert learning(tmp_path, compute={"device": "cuda", "devices": 2, "nodes": 2}).gpus("toy") == 4


def test_how_a_model_is_scored_does_not_make_its_weights_old(toy, tmp_path):
    plain, scored = learning(tmp_path), learning(tmp_path, settings={"evaluation": {"scale": 3}})
    assert plain.training_settings("toy", "default") == scored.training_settings("toy", "default")
    changed = learning(tmp_path, settings={"network": {"dropout": 0.3}})
    assert plain.training_settings("toy", "default") != changed.training_settings("toy", "default")


def test_memory_and_time_do_not_make_weights_old(toy, tmp_path):
    plain, larger = learning(tmp_path), learning(tmp_path, compute={"mem_mb": 64000, "runtime_min": 900})
    assert plain.training_settings("toy", "default") == larger.training_settings("toy", "default")


def test_an_absent_package_is_named(toy, tmp_path):
    with pytest.raises(SettingError, match="package: trained"):
        learning(tmp_path, package=str(tmp_path / "none")).package("toy")
