"""What goes wrong on clusters: too little memory or time, a node that fails, a driver that is stopped or killed."""

import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from cluster import slurm, start, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def workflow(rig, root, tmp_path):
    """A folder with the small workflow and the project's profiles, as a clone has them."""
    shutil.copytree(root / "config/profiles", tmp_path / "config/profiles")
    shutil.copytree(root / "tests/slurm/site", tmp_path / "tests/slurm/site")
    (tmp_path / "slurm").symlink_to("config/profiles/slurm")
    shutil.copy(root / "tests/slurm/trouble.smk", tmp_path / "Snakefile")
    return tmp_path


def record(path) -> list[str]:
    """Node, partition, visible GPUs and resource that a job wrote down."""
    return path.read_text().split()


def test_gpu_jobs_go_to_the_gpu_partition_and_short_jobs_are_given_more(workflow):
    run = start(workflow, "gpu_a.txt", "gpu_b.txt", "memory.txt", "time.txt", "plain.done")
    assert run.finish(420) == 0, run.text[-4000:]
    devices = {tuple(record(workflow / f"gpu_{index}.txt")[:3]) for index in "ab"}
    assert {(node, partition) for node, partition, _ in devices} == {("gpu1", "gpu")}
    assert {device for *_, device in devices} <= {"0", "1"}
    assert record(workflow / "plain.done")[1:3] == ["cpu", "none"]
    assert record(workflow / "memory.txt")[3] == "1400"
    assert record(workflow / "time.txt")[3] == "2"
    assert len(run.jobs()) == 5 + 2


def test_a_job_whose_node_fails_runs_on_another_one(workflow):
    run = start(workflow, "moved.done")
    (node,) = wait_for(run.nodes)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        assert run.finish(300) == 0, run.text[-4000:]
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert record(workflow / "moved.done")[0] != node


@pytest.fixture
def daemons_back(rig):
    """Starts the daemons that a test has killed."""
    yield
    subprocess.run([Path(__file__).with_name("rig.sh"), "up"], check=True)


def daemon(rig, node) -> psutil.Process:
    """The process that runs the jobs of a node."""
    return psutil.Process(int((rig / f"run/slurmd-{node}.pid").read_text()))


def steps(job) -> list[psutil.Process]:
    """The processes of a job, which outlive the daemon that started them."""
    roots = [process for process in psutil.process_iter(["cmdline"]) if is_step(process.info["cmdline"], job)]
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def is_step(command, job) -> bool:
    return bool(command) and command[0].startswith(f"slurmstepd: [{job}.")


def test_a_killed_daemon_of_a_node_loses_no_job(workflow, rig, daemons_back):
    run = start(workflow, "one.done")
    (node,) = wait_for(run.nodes)
    daemon(rig, node).kill()
    # The job ends by itself, or is started again on the other node if the controller misses the daemon before.
    assert run.finish(400) == 0, run.text[-4000:]
    assert record(workflow / "one.done")[1] == "cpu"


def test_a_node_that_loses_power_gives_its_job_to_another_one(workflow, rig, daemons_back):
    run = start(workflow, "one.done")
    (node,) = wait_for(run.nodes)
    processes = wait_for(lambda: steps(run.jobs()[0]))
    for process in (daemon(rig, node), *processes):
        process.kill()
    assert run.finish(400) == 0, run.text[-4000:]
    assert record(workflow / "one.done")[0] != node


def test_ctrl_c_cancels_the_jobs_and_a_second_run_finishes(workflow):
    run = start(workflow, "one.done", "two.done")
    wait_for(lambda: len(run.nodes()) == 2)
    run.interrupt()
    assert run.finish(120) != 0
    wait_for(lambda: not run.waiting_or_running())
    assert not list(workflow.glob("*.done"))
    again = start(workflow, "one.done", "two.done")
    assert again.finish(240) == 0, again.text[-4000:]
    assert len(again.jobs()) == 2


def test_after_a_killed_driver_the_folder_is_unlocked_and_the_work_goes_on(workflow):
    run = start(workflow, "one.done")
    wait_for(run.nodes)
    run.interrupt(signal.SIGKILL)
    run.finish(10)
    locked = start(workflow, "one.done")
    assert locked.finish(60) != 0
    assert "--unlock" in locked.text
    slurm("scancel", *run.waiting_or_running())
    assert start(workflow, "--unlock").finish(60) == 0
    again = start(workflow, "one.done")
    assert again.finish(240) == 0, again.text[-4000:]
