"""The whole way on a thumbnail study: first run, second run, a new subject, a failed step."""

import csv
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from clone import Clone, clone

from scan2map.outputs import kinds
from scan2map.reporting.crate import find_results

STUDY = {
    "study": {"title": "Thumbnail"},
    "input": {"kind": "phantom"},
    "phantom": {"omit": [{"subject": "03", "series": "asl_m0scan"}, {"subject": "03", "series": "dwi_b0_dir-PA"}]},
}
pytestmark = pytest.mark.slow


def rows(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def sessions_of_jobs(text: str) -> set[str]:
    """The sessions of the jobs that a run started."""
    return set(re.findall(r"wildcards: (subject=\w+, session=\w+)", text))


@pytest.fixture(scope="module")
def study(root, tmp_path_factory) -> Clone:
    copy = clone(root, tmp_path_factory.mktemp("rail"))
    copy.configure(**STUDY)
    copy.participants([("01", "01", "n/a"), ("02", "01", "n/a")])
    finished = copy.snakemake()
    assert finished.returncode == 0, finished.stdout[-6000:]
    return copy


def test_every_session_has_its_page_and_the_group_page_links_to_it(study):
    index = (study / "results/report/index.html").read_text()
    for subject in ("01", "02"):
        assert (study / f"results/report/sub-{subject}_ses-01.html").stat().st_size > 50_000
        assert f'href="sub-{subject}_ses-01.html"' in index


def test_pages_need_no_network(study):
    for page in (study / "results/report").glob("*.html"):
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*\.(?:js|css|png|woff2?)"', page.read_text()), page.name


def test_roi_values_are_finite_and_in_the_range_of_living_brains(study):
    table = rows(study / "results/evaluation/rois.tsv")
    median = {(row["subject"], row["roi"], row["metric"]): row for row in table}
    assert all(math.isfinite(float(row["value"])) for row in table)
    assert {row["subject"] for row in table} == {"01", "02"}
    assert len(median) > 20


def test_maps_carry_sidecars_with_step_and_units(study):
    import json

    maps = list((study / "results/derivatives/scan2map").rglob("*_dwimap.nii.gz"))
    assert len(maps) >= 2 * 7
    for path in maps:
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["GeneratedBy"]["Step"] == "fit_tensor"
        assert sidecar["Units"]


def test_the_page_of_outputs_names_every_kind_of_file(study):
    page = (study / "docs/outputs.md").read_text()
    made = kinds(find_results(study / "results"))
    assert len(made) > 60
    sections = {section.split("/`", 1)[0].strip(" `"): section for section in page.split("\n## ")[1:]}
    missing = [
        kind
        for kind in made
        if f"| `{Path(kind).name.removeprefix('sub-X_ses-Y_')}` |" not in sections.get(Path(kind).parent.as_posix(), "")
    ]
    assert not missing


def test_the_bids_data_set_is_valid(study):
    verdict = rows(study / "results/bids_validation.tsv")
    assert not [row for row in verdict if row["severity"] == "error"]


def test_a_second_run_does_nothing(study):
    again = study.snakemake()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_a_typing_error_stops_before_the_first_job(study):
    refused = study.snakemake("--config", "dwi={tensr: {}}")
    assert refused.returncode != 0
    assert "did you mean 'tensor'" in refused.stdout
    assert "Job stats" not in refused.stdout


def test_new_subject_runs_only_its_own_jobs_and_incomplete_data_are_named(study):
    before = {path: path.stat().st_mtime_ns for path in (study / "results").rglob("sub-0[12]*") if path.is_file()}
    study.participants([("01", "01", "n/a"), ("02", "01", "n/a"), ("03", "01", "n/a")])
    finished = study.snakemake()
    assert finished.returncode == 0, finished.stdout[-6000:]
    assert sessions_of_jobs(finished.stdout) == {"subject=03, session=01"}
    assert before == {path: path.stat().st_mtime_ns for path in before}
    inventory = {(row["subject"], row["modality"]): row for row in rows(study / "results/inventory.tsv")}
    assert inventory["03", "asl"]["status"] == "incomplete"
    assert "M0" in inventory["03", "asl"]["reason"]
    page = (study / "results/report/sub-03_ses-01.html").read_text()
    assert "no M0" in page
    assert "susceptibility" in page.lower()
    assert 'href="sub-03_ses-01.html"' in (study / "results/report/index.html").read_text()


def test_a_step_that_fails_on_its_data_stops_one_modality_of_one_session_and_the_report_is_made(study):
    (m0,) = (study / "results/derivatives/scan2map/sub-02/ses-01/perf").glob("*_desc-aligned_m0scan.nii.gz")
    image = nib.load(m0)
    nib.Nifti1Image(1e3 * image.get_fdata(dtype=np.float32), image.affine).to_filename(m0)
    first = study.snakemake()
    assert first.returncode != 0
    assert "These sessions could not be processed" in first.stdout
    assert "sub-02 ses-01 asl" in first.stdout
    assert "not plausible" in (study / "results/report/sub-02_ses-01.html").read_text()
    assert "not plausible" in (study / "results/report/index.html").read_text()
    second = study.snakemake()
    assert second.returncode == 0, second.stdout[-6000:]
    assert "Nothing to be done" in second.stdout
