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


@pytest.fixture(scope="session")
def workflow(root, tmp_path_factory):
    """The parsed workflow of the demo study."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        parsed = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[root / "config" / "demo" / "config.yaml"]),
            snakefile=root / "Snakefile",
            workdir=root,
        )
        yield parsed._workflow


@pytest.fixture(scope="session")
def rules(workflow):
    """Every rule that starts a script."""
    return [rule for rule in workflow.rules if rule.script]
