"""The workflow as Snakemake parses it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def workflow(root: Path, tmp_path_factory):
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
