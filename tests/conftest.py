"""Fixtures that every test folder shares."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def xa30_dir() -> Path:
    """The public xa30 scan (folder with ``In/``): SCAN2MAP_XA30, or ../shared/data/xa30 beside the checkout."""
    folder = Path(os.environ.get("SCAN2MAP_XA30", ROOT.parent / "shared" / "data" / "xa30"))
    if not (folder / "In").is_dir():
        pytest.skip("the public xa30 scan is absent: set SCAN2MAP_XA30 to its folder to run this test")
    return folder
