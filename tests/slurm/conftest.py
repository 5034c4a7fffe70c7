"""Tests on a real Slurm: they run inside ``tests/slurm/rig.sh run``, which ``make test-slurm`` calls."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "scenarios"))


@pytest.fixture(scope="session")
def rig() -> Path:
    """The folder of the running rig."""
    if "SCAN2MAP_SLURM" not in os.environ:
        pytest.skip("needs the Slurm rig: make test-slurm")
    return Path(os.environ["SCAN2MAP_SLURM"])
