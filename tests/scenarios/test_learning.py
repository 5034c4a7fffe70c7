"""A learned system beside the rail: added by its own files alone, trained, packaged, applied, validated."""

import csv
import json
import re
import shutil

import pytest
from clone import Clone, clone
from toy_study import TOY

STUDY = {
    "study": {"title": "Toy"},
    "input": {"kind": "phantom"},
    "phantom": {"modalities": ["anat"]},
    "learning": {"systems": ["toy"]},
}
SPLIT = [("A", "train"), ("B", "train"), ("C", "validation"), ("D", "test"), ("E", "test")]
RESULTS = ("predict_all", "results/report/index.html", "results/validation/toy.tsv", "results/published/toy")
pytestmark = pytest.mark.slow


def split(study: Clone, rows) -> None:
    lines = ["cohort\tsubject\tpart", *(f"phantom\t{subject}\t{part}" for subject, part in rows)]
    (study / "config/split.tsv").write_text("\n".join(lines) + "\n")


def add_toy(study: Clone) -> None:
    """What docs/adding-a-system.md asks for, and nothing else."""
    library = study / "workflow/lib/scan2map"
    shutil.copytree(TOY / "systems/toy", library / "systems/toy")
    shutil.copy(TOY / "models/toy_line.py", library / "models/toy_line.py")
    shutil.copy(TOY / "config/models/toy.yaml", study / "config/models/toy.yaml")
    shutil.copy(TOY / "targets.yaml", study / "workflow/report/targets/toy.yaml")


def jobs(text: str) -> list[str]:
    return re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE)


@pytest.fixture(scope="module")
def study(root, tmp_path_factory) -> Clone:
    copy = clone(root, tmp_path_factory.mktemp("learning"))
    add_toy(copy)
    copy.configure(**STUDY)
    split(copy, SPLIT)
    copy.participants([("01", "01", "n/a")])
    finished = copy.snakemake("--", *RESULTS)
    assert finished.returncode == 0, finished.stdout[-6000:]
    return copy


def test_every_map_is_there_and_says_where_it_comes_from(study):
    folder = study / "results/derivatives/toy/sub-01/ses-01/anat"
    names = sorted(path.name for path in folder.glob("*.nii.gz"))
    assert names == [f"sub-01_ses-01_desc-{name}_map.nii.gz" for name in ("double", "plain", "spread")]
    sidecar = json.loads((folder / "sub-01_ses-01_desc-double_map.json").read_text())
    assert sidecar["Model"]["Package"].startswith("toy/default@")
    assert sidecar["Model"]["TrainedOn"] == "simulated subjects"
    assert sidecar["GeneratedBy"]["Step"] == "predict_toy"


def test_the_validation_table_has_the_projects_columns(study):
    with (study / "results/validation/toy.tsv").open(newline="") as handle:
        table = {row["id"]: row for row in csv.DictReader(handle, delimiter="\t")}
    assert set(table["toy-slope"]) == {"id", "description", "value", "ci_low", "ci_high", "target", "met", "commit"}
    assert table["toy-slope"]["met"] == table["toy-against-zero"]["met"] == "yes"
    assert float(table["toy-against-zero"]["ci_low"]) <= float(table["toy-against-zero"]["value"])


def test_the_published_package_holds_its_numbers(study):
    card = json.loads((study / "results/published/toy/card.json").read_text())
    assert [row["id"] for row in card["metrics"]] == ["toy-slope", "toy-against-zero"]
    page = (study / "results/report/model-toy.html").read_text()
    assert "Nothing &lt;else&gt;." in page


def test_the_pages_show_the_maps_and_lead_to_the_card(study):
    page = (study / "results/report/sub-01_ses-01.html").read_text()
    section = page[page.index('id="toy"') :]
    assert "Conventional" in section
    assert "Uncertainty" in section
    assert "trained on simulated subjects" in section
    assert "double_against_plain" in page
    assert 'href="model-toy.html"' in (study / "results/report/index.html").read_text()


def test_nothing_runs_twice(study):
    assert "Nothing to be done" in study.snakemake("--", *RESULTS).stdout


def test_a_new_subject_is_predicted_and_nothing_is_trained(study):
    study.participants([("01", "01", "n/a"), ("02", "01", "n/a")])
    first = study.snakemake("--", "results/inventory.tsv")
    assert first.returncode == 0, first.stdout[-6000:]
    plan = study.snakemake("-n", "--", *RESULTS)
    assert jobs(plan.stdout).count("predict_maps") == 1
    assert not {"train_model", "build_dataset", "package_model", "evaluate_model"} & set(jobs(plan.stdout))
    assert "subject=01" not in plan.stdout


def test_another_split_trains_again(study):
    split(study, [*SPLIT, ("F", "train")])
    plan = study.snakemake("-n", "--", "results/models/toy/default/fold-main/package")
    assert jobs(plan.stdout).count("train_model") == 2
    assert re.findall(r"wildcards: system=toy, subject=(\w+)", plan.stdout) == ["F"]
    split(study, SPLIT)


def test_a_subject_in_two_parts_stops_the_run(study):
    split(study, [*SPLIT, ("A", "test")])
    refused = study.snakemake("-n", "--", "predict_all")
    assert refused.returncode != 0
    assert "in two parts of the split" in refused.stdout
    split(study, SPLIT)


def test_sweeps_are_wildcards(study):
    plan = study.snakemake("-n", "--", "results/models/toy/smooth/fold-main/seed-7/weights.safetensors")
    assert jobs(plan.stdout) == ["train_model"]
