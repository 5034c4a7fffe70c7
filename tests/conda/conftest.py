"""Tests on a stand-in for conda: they run inside ``tests/conda/rig.sh run``, which ``make test-conda`` calls."""

import os
import sys
from pathlib import Path

import pytest

for folder in ("scenarios", "contract"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / folder))


@pytest.fixture(scope="session")
def driver() -> str:
    """The Python of an environment that holds Snakemake and nothing of the project."""
    if "SCAN2MAP_DRIVER" not in os.environ:
        pytest.skip("needs the stand-in for conda: make test-conda")
    return os.environ["SCAN2MAP_DRIVER"]


@pytest.fixture(scope="session")
def prefix() -> Path:
    """Where Snakemake makes its environments."""
    return Path(os.environ["SCAN2MAP_CONDA_PREFIX"])
