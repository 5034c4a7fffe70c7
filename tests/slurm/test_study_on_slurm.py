"""A thumbnail study through ``snakemake --profile slurm``: everything is made, with few submissions, and only once."""

import time

import pytest
from clone import THUMBNAIL, clone
from cluster import start

# Intake, anatomy, diffusion, perfusion, evaluation with page.
SUBMISSIONS_PER_SESSION = 5
# Inventory, validator, two descriptions, two quality tables, regions, targets, group page, resources, crate.
SUBMISSIONS_PER_STUDY = 11
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(rig, root, tmp_path_factory):
    copy = clone(root, tmp_path_factory.mktemp("study"))
    copy.configure(study={"title": "Thumbnail on Slurm"}, input={"kind": "phantom"})
    copy.participants([("01", "01", "n/a")])
    return copy


def run(study):
    begin = time.monotonic()
    started = start(study.folder, "--configfile", THUMBNAIL, "config/study.yaml")
    code = started.finish(3000)
    print(f"\n{len(started.jobs())} submissions, {time.monotonic() - begin:.0f} s, exit code {code}")
    return started, code


def test_a_study_needs_few_submissions(study):
    started, code = run(study)
    assert code == 0, started.text[-6000:]
    assert (study / "results/report/index.html").is_file()
    assert (study / "results/report/sub-01_ses-01.html").stat().st_size > 50_000
    assert len(started.jobs()) <= SUBMISSIONS_PER_SESSION + SUBMISSIONS_PER_STUDY


def test_a_second_run_submits_nothing(study):
    started, code = run(study)
    assert code == 0
    assert "Nothing to be done" in started.text
    assert len(started.jobs()) == 0
