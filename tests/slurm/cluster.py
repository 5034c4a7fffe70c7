"""Snakemake on the rig: started with the project's Slurm profile, watched and interrupted from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SITE = ("--profile", "slurm", "--workflow-profile", "tests/slurm/site", "--nocolor")
SUBMITTED = re.compile(r"has been submitted with SLURM jobid (\d+)")


@dataclass
class Run:
    """A Snakemake that submits to the rig; its output goes to a file."""

    process: subprocess.Popen
    log: Path

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def jobs(self) -> list[str]:
        """The Slurm jobs that it has submitted."""
        return SUBMITTED.findall(self.text)

    def nodes(self) -> list[str]:
        """The nodes of those of its jobs that run now."""
        queue = slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i %N")
        return [line.split()[1] for line in queue.splitlines() if line.split()[0] in self.jobs()]

    def waiting_or_running(self) -> list[str]:
        """Those of its jobs that are still in the queue."""
        return [job for job in slurm("squeue", "--noheader", "--format=%i").split() if job in self.jobs()]

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """What Ctrl-C (or another signal) does."""
        self.process.send_signal(number)

    def finish(self, seconds: int) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(timeout=seconds)


def start(folder: Path, *arguments: str) -> Run:
    """Start Snakemake in a folder that holds a workflow and the project's profiles."""
    log = folder / f"run-{len(list(folder.glob('run-*.txt')))}.txt"
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *SITE, *arguments],
            cwd=folder,
            env=os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own, as a terminal would give it: a signal reaches it and not the tests.
            start_new_session=True,
            # What started the tests may ignore Ctrl-C, as a background job of a shell does: that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    return Run(process, log)


def slurm(*command: str) -> str:
    """The output of a Slurm command."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(condition: Callable[[], object], seconds: int = 120):
    """The first true answer of a condition.

    Raises:
        TimeoutError: none came in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.5)
    raise TimeoutError(f"{condition} was not true within {seconds} s; queue:\n{slurm('squeue')}")
