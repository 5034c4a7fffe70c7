"""Start a training: in this process, as a process per device of this machine, or as a Slurm step over nodes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scan2map.errors import SettingError, ToolError
from scan2map.training.job import TrainingJob

LOGGER = logging.getLogger("scan2map")
LIBRARY = Path(__file__).resolve().parents[2]


def train_member(
    which: Mapping[str, str],
    data: Mapping[str, Sequence[str]],
    results: Mapping[str, str],
    *,
    model: Mapping[str, Any],
    checkpoints,
) -> None:
    """Train one member of an ensemble.

    Args:
        which: ``system``, ``variant``, ``fold``, ``seed``.
        data: files of the parts ``train`` and ``validation``.
        results: files to write: ``weights``, ``summary``, ``history``.
        model: ``settings``, ``training`` and ``compute`` of the variant.
        checkpoints: folder of all checkpoints of the study.
    """
    folder = Path(checkpoints, which["system"], which["variant"], f"fold-{which['fold']}", f"seed-{which['seed']}")
    files = {part: tuple(map(str, paths)) for part, paths in data.items()} | {key: str(results[key]) for key in results}
    train(TrainingJob(**{**which, "seed": int(which["seed"])}, model=model, checkpoints=str(folder), **files))


def train(job: TrainingJob) -> None:
    """Train a job to its end (or go on from its last checkpoint).

    Raises:
        SettingError: its device is not there, or it wants several nodes outside a Slurm allocation of that size.
        ToolError: one of its processes failed.
    """
    if job.processes == 1:
        from scan2map.training.fit import fit_job

        fit_job(job)
        return
    file = Path(job.checkpoints) / "job.json"
    job.save(file)
    _run(command(job, file, os.environ), job)


def command(job: TrainingJob, file: Path, environment: Mapping[str, str]) -> list[str]:
    """The command line that starts all processes of a job.

    Args:
        job: several devices, or several nodes.
        file: the job as JSON.
        environment: of this process (Slurm says there how large its allocation is).
    """
    compute = job.model["compute"]
    module = ["-m", "scan2map.training.job", str(file)]
    if compute["nodes"] == 1:
        distributed = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(compute["devices"])]
        return [sys.executable, *distributed, *module]
    allocated = environment.get("SLURM_JOB_NUM_NODES", "no Slurm allocation")
    if allocated != str(compute["nodes"]):
        raise SettingError(
            f"{job.system} is to train on several nodes, but this job does not have them",
            found=allocated,
            allowed=f"{compute['nodes']} nodes",
            remedy="ask for them in the profile: set-resources: train_model: {nodes, tasks_per_node, mpi: srun}",
        )
    tasks = ["--nodes", str(compute["nodes"]), "--ntasks", str(job.processes)]
    return ["srun", *tasks, "--ntasks-per-node", str(compute["devices"]), sys.executable, *module]


def _run(arguments: list[str], job: TrainingJob) -> None:
    paths = [str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    LOGGER.info("%d processes: %s", job.processes, " ".join(arguments))
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            LOGGER.info("%s", line.rstrip())
    if process.returncode:
        remedy = "see the lines above; running again goes on from the last checkpoint"
        raise ToolError(f"Training {job.system} failed", found=f"exit code {process.returncode}", remedy=remedy)
