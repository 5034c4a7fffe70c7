"""A run that failed on data is followed by one for the report; nothing else is."""

import json
import os
import subprocess
import time
from types import SimpleNamespace

import pytest

from scan2map import follow_up

PLAIN = ("--profile", "config/profiles/local")


@pytest.fixture
def logs(tmp_path):
    note = tmp_path / "logs/quantify_cbf/sub-01_ses-02.failed.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"subject": "01", "session": "02", "modality": "asl", "reason": "M0 is empty"}))
    return tmp_path / "logs"


def asked(logs, *, targets=(), arguments=PLAIN, log="", age_s=60):
    return follow_up.should_follow(targets, arguments, log, logs, time.time() - age_s)


def test_a_failure_on_data_is_followed(logs):
    assert asked(logs)
    assert asked(logs, targets=("all",))


@pytest.mark.parametrize(
    "case",
    [
        {"targets": ("results/report/index.html",)},
        {"arguments": (*PLAIN, "--forceall")},
        {"log": "Terminating processes on user request, this might take some time."},
        {"age_s": -60},
    ],
    ids=["single files", "forced", "stopped", "an old failure"],
)
def test_nothing_else_is(logs, case):
    assert not asked(logs, **case)


def test_a_failure_without_a_note_is_not(tmp_path):
    assert not asked(tmp_path)


def test_the_same_command_runs_once_and_is_not_followed_itself(logs, monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, check, env: started.append((command, env)))
    monkeypatch.setattr("sys.argv", ["snakemake", *PLAIN])
    (tmp_path / "run.log").write_text("Exiting because a job execution failed.")
    workflow = SimpleNamespace(is_main_process=True, dag_settings=SimpleNamespace(targets=set()))
    follow_up.after_failure(workflow, [str(tmp_path / "run.log")], logs, time.time() - 60)
    ((command, environment),) = started
    assert command[-2:] == list(PLAIN)
    assert "--nolock" in command
    monkeypatch.setattr(os, "environ", environment)
    follow_up.after_failure(workflow, [], logs, time.time() - 60)
    assert len(started) == 1


def test_the_words_of_a_stopped_run_are_found_in_its_log(logs, monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a stopped run was followed"))
    (tmp_path / "run.log").write_text("Terminating processes on user request, this might take some time.")
    workflow = SimpleNamespace(is_main_process=True, dag_settings=SimpleNamespace(targets=set()))
    follow_up.after_failure(workflow, [str(tmp_path / "run.log")], logs, time.time() - 60)


def test_a_job_on_a_cluster_starts_no_run(logs, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a job has started a run"))
    workflow = SimpleNamespace(is_main_process=False, dag_settings=SimpleNamespace(targets=set()))
    follow_up.after_failure(workflow, [], logs, time.time() - 60)
