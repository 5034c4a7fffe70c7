"""After a run in which sessions failed on their data: one more run without them, so that the report is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scan2map.status import failure_notes

# Set in the run that follows, so that nothing follows on it.
FOLLOWING = "SCAN2MAP_FOLLOWS_A_FAILED_RUN"
# Asked of the first run only: they would make again what is there.
FORCING = {"-F", "--forceall", "-f", "--force", "-R", "--forcerun"}
# What Snakemake writes into its log when someone stops it.
STOPPED = ("on user request", "Will exit after finishing currently running jobs")


def should_follow(targets: Sequence[str], arguments: Sequence[str], log: str, logs, started_s: float) -> bool:
    """Whether another run would bring the report.

    Args:
        targets: files and rules that were asked for; none is the whole study.
        arguments: of the command line.
        log: text of Snakemake's log.
        logs: the study's log folder with the failure notes.
        started_s: when the run began, seconds since 1970: a failure from before was left out of its plan already.
    """
    if FOLLOWING in os.environ or set(targets) - {"all"} or FORCING & set(arguments):
        return False
    if any(words in log for words in STOPPED):
        return False
    return any(os.stat(note["note"]).st_mtime >= started_s for note in failure_notes(logs))


def go_on(arguments: Sequence[str]) -> None:
    """Run the same command again beside the one that is about to end, which still holds the folder's lock."""
    print("Going on without them, for the report.", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "snakemake", "--nolock", *arguments]
    subprocess.run(command, check=False, env=os.environ | {FOLLOWING: "1"})


def after_failure(workflow, log: Sequence[str], logs, started_s: float) -> None:
    """Run once more if that brings the report; Snakemake's handler of a failed run calls this.

    Args:
        workflow: Snakemake's workflow.
        log: Snakemake's log files.
        logs: the study's log folder.
        started_s: when the run began, seconds since 1970.
    """
    text = "".join(Path(part).read_text(errors="replace") for part in log if Path(part).is_file())
    targets = list(workflow.dag_settings.targets or ())
    if workflow.is_main_process and should_follow(targets, sys.argv[1:], text, logs, started_s):
        go_on(sys.argv[1:])
