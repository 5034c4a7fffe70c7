"""Several processes: how they are started, and that they learn the same thing together."""

from pathlib import Path

import pytest
import torch
import toy_study
from safetensors.torch import load_file

from scan2map.errors import SettingError
from scan2map.training import devices, launch
from scan2map.training.fit import fit_job

COMPUTE = {"device": "cpu", "precision": "32-true", "devices": 1}


def job(tmp_path, data=("a", "b", "c"), **compute):
    return toy_study.job(tmp_path, list(data), toy_study.model(compute=compute))


def test_devices_of_one_machine_are_started_by_torchrun(toy, tmp_path):
    command = launch.command(job(tmp_path, devices=2), Path("job.json"), {})
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    assert command[5] == "2"
    assert command[-1] == "job.json"


def test_nodes_are_started_by_slurm(toy, tmp_path):
    command = launch.command(job(tmp_path, devices=2, nodes=2), Path("job.json"), {"SLURM_JOB_NUM_NODES": "2"})
    assert command[:7] == ["srun", "--nodes", "2", "--ntasks", "4", "--ntasks-per-node", "2"]


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_NUM_NODES": "1"}])
def test_nodes_that_were_not_allocated_stop_the_training(toy, tmp_path, environment):
    with pytest.raises(SettingError, match="set-resources"):
        launch.command(job(tmp_path, devices=2, nodes=2), Path("job.json"), environment)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(toy, toy_folder, tmp_path):
    """Without dropout and noise, the mean gradient of two halves of a batch is the gradient of the batch."""
    data = toy_study.dataset(tmp_path / "data")
    quiet = {"training": {"ema_decay": None, "max_steps": 10}, "settings": {"network": {"dropout": 0}, "noise": 0}}
    one = toy_study.job(tmp_path / "one", data, toy_study.model(**quiet))
    two = toy_study.job(tmp_path / "two", data, toy_study.model(compute={"devices": 2}, **quiet))
    fit_job(one)
    two.save(tmp_path / "job.json")
    (tmp_path / "start.py").write_text("import with_toy\nfrom scan2map.training.job import main\nmain()\n")
    arguments = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "start.py")]
    process = toy_study.start_program(toy_folder, [*arguments, str(tmp_path / "job.json")])
    text, _ = process.communicate()
    assert process.returncode == 0, text
    first, second = load_file(one.weights), load_file(two.weights)
    assert all(torch.allclose(first[name], second[name], rtol=1e-4) for name in first)


def test_precision_that_a_cpu_lacks_is_named():
    assert devices.missing(COMPUTE) == []
    assert "needs a GPU" in devices.missing(COMPUTE | {"precision": "16-mixed"})[0]
