"""The RO-Crate of a study: what it says of each result, read back with the library that reads crates."""

import json

import pytest
from rocrate.rocrate import ROCrate
from synthetic_tree import Tree, write_session

from scan2map.provenance import write_sidecar
from scan2map.reporting.crate import NAME, PROFILE, write_crate


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "results" / "study"
    write_session(Tree(root / "derivatives"), modalities=("anat", "asl"))
    table = root / "evaluation" / "rois.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("a\n1\n")
    sources = ["results/study/bids/gone.nii.gz", "results/study/inventory.tsv", "/elsewhere/secret.dcm", "../other.txt"]
    (root / "inventory.tsv").write_text("subject\n")
    write_sidecar(table, step="gather_rois", description="Regions", sources=sources, settings={"threshold": 0.8})
    write_crate(root, root / NAME, title="A study")
    return root


def action(crate, name):
    return next(one for one in crate.contextual_entities if one.id == name)


def test_a_reader_of_crates_finds_every_result_and_its_step(root):
    crate = ROCrate(str(root))
    assert crate.name == "A study"
    assert crate.root_dataset["conformsTo"][0].id == PROFILE
    made = action(crate, "#quantify_cbf/sub-01_ses-1")
    assert [one.id for one in made["result"]] == ["derivatives/scan2map/sub-01/ses-1/perf/sub-01_ses-1_cbf.nii.gz"]
    assert "step version" in made["instrument"]["softwareVersion"]
    assert {one["name"] for one in made["instrument"]["softwareRequirements"]} >= {"scan2map", "numpy", "torch"}
    files = [one.id for one in crate.data_entities]
    assert all((root / path).is_file() for path in files)
    assert len(files) == len(set(files))


def test_what_lies_outside_is_not_named_and_what_was_removed_is_said_so(root):
    used = action(ROCrate(str(root)), "#gather_rois/study")["object"]
    assert [one.id for one in used] == [
        "#removed/bids/gone.nii.gz", "inventory.tsv", "#gather_rois/study/settings",
    ]  # fmt: skip
    assert json.loads(used[-1]["value"]) == {"threshold": 0.8}
    text = (root / NAME).read_text()
    assert "secret" not in text
    assert str(root) not in text


def test_the_same_results_give_the_same_bytes(root):
    before = (root / NAME).read_bytes()
    write_crate(root, root / NAME, title="A study")
    assert (root / NAME).read_bytes() == before
