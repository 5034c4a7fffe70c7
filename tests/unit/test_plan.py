import pytest

from scan2map import plan
from scan2map.costs import Cost

DRY_RUN = """Building DAG of jobs...
[Sat Nov 21 13:25:11 2026]
rule fit_tensor:
    input: results/a.nii.gz
    output: results/b.nii.gz
    jobid: 9
    reason: Missing output files: results/b.nii.gz; Input files updated by another job: results/a.nii.gz
    wildcards: subject=01, session=02
    resources: tmpdir=<TBD>, mem_mb=3000

[Sat Nov 21 13:25:11 2026]
checkpoint build_inventory:
    output: results/inventory.tsv
    jobid: 2
    reason: Params have changed since last execution: settings
    resources: tmpdir=<TBD>

[Sat Nov 21 13:25:11 2026]
localrule all:
    input: results/index.html
    jobid: 0
    reason: Input files updated by another job: results/index.html
"""
COSTS = {"fit_tensor": Cost(3, 600.0, 400, 100), "correct_motion": Cost(1, 3600.0, 700, 100)}


@pytest.fixture
def jobs():
    return plan.parse_jobs(DRY_RUN)


def test_jobs_are_read_with_whom_they_are_for_and_why(jobs):
    assert [(job.rule, job.who) for job in jobs] == [("fit_tensor", "sub-01 ses-02"), ("build_inventory", plan.STUDY)]
    assert jobs[0].reasons == ("Missing output files", "Input files updated by another job")


def test_plan_says_who_what_why_and_how_long(jobs):
    first, session, study = plan.plan_lines(jobs, COSTS, disk_mb=500)
    assert first.startswith("2 steps for 1 sessions: 10 min")
    assert session == "sub-01 ses-02: fit_tensor; because something before it has changed; about 10 min."
    assert "settings or the step's version have changed" in study


def test_a_session_that_is_converted_first_is_estimated_with_the_steps_that_follow():
    convert = [plan.Job("convert_session", "sub-01 ses-01", ("Missing output files",))]
    total, line = plan.plan_lines(convert, COSTS, disk_mb=500)
    assert "1 h 10 min" in total
    assert "0.5 GB of disk for 1 new sessions" in total
    assert "all steps after its intake; because not made yet" in line


def test_nothing_to_do_is_said():
    assert plan.plan_lines([], COSTS, 500) == ["Nothing will run: all results are up to date."]
