"""Running external programs: found once, versions read, output kept for the log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from scan2map.errors import ToolError

# No telemetry, whatever the program.
QUIET = {"BIDSCOIN_TRACKUSAGE": "no", "DUECREDIT_ENABLE": "no", "NO_ET": "1", "DO_NOT_TRACK": "1"}


def search_path() -> str:
    """PATH, led by the folder of the running Python: tools of an environment that is not activated are found."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def find_program(name: str, package: str) -> str:
    """Full path of a program.

    Raises:
        ToolError: it is not installed.
    """
    found = shutil.which(name, path=search_path())
    if found is None:
        remedy = f"install the package {package} (envs/ingest.yaml lists it with its version)"
        raise ToolError(f"The program {name} is not installed", remedy=remedy)
    return found


def package_version(package: str) -> str:
    """Version of an installed Python package, or ``unknown``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def run_program(command: list[str], *, environment: dict[str, str] | None = None, allowed=(0,)) -> str:
    """Run a program and return what it printed (standard output, then standard error).

    Raises:
        ToolError: it cannot be started or ends with an exit code that is not allowed.
    """
    variables = {**os.environ, **QUIET, "PATH": search_path(), **(environment or {})}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False, errors="replace")
    except OSError as error:
        raise ToolError(f"The program {Path(command[0]).name} cannot be started ({error})") from error
    if done.returncode not in allowed:
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise ToolError(f"The program {Path(command[0]).name} failed", found=f"exit code {done.returncode}: {last}")
    return done.stdout + done.stderr
