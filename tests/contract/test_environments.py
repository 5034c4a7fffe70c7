"""Environments: exact pins, one truth about versions, no package that the licence forbids to import."""

import re

import pytest
import yaml

PIN = re.compile(r"^[A-Za-z0-9_.\-]+==[0-9][\w.]*$")
GPL_MODULES = ("bidscoin", "pyhysco", "spm", "fsl.wrappers")


def requirements(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def pip_pins(root, name):
    content = yaml.safe_load((root / "envs" / name).read_text())
    return next(item["pip"] for item in content["dependencies"] if isinstance(item, dict))


def test_every_pin_is_exact(root):
    for name in ("local.in", "local.lock"):
        assert all(PIN.match(line) for line in requirements(root / "envs" / name)), name


@pytest.mark.parametrize("name", ["imaging.yaml", "ingest.yaml", "fsl.yaml", "training.yaml"])
def test_conda_environments_agree_with_the_lock(root, name):
    locked = {
        line.split("==")[0].lower().replace("_", "-"): line.split("==")[1]
        for line in requirements(root / "envs/local.lock")
    }
    for pin in pip_pins(root, name):
        assert PIN.match(pin), pin
        package, version = pin.split("==")
        assert locked[package.lower().replace("_", "-")] == version, pin


def test_what_conda_itself_brings_is_pinned(root):
    for path in (root / "envs").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        packages = [item for item in content["dependencies"] if isinstance(item, str)]
        assert all(re.match(r"^[a-z0-9_\-]+=\d[\w.]*$", item) for item in packages), path.name
        assert content["channels"][-2:] == ["conda-forge", "nodefaults"], path.name


def test_direct_dependencies_are_locked(root):
    locked = {line.lower().replace("_", "-") for line in requirements(root / "envs/local.lock")}
    assert {line.lower().replace("_", "-") for line in requirements(root / "envs/local.in")} <= locked


def test_gpl_software_is_never_imported(root):
    for path in (root / "workflow" / "lib").rglob("*.py"):
        imports = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", path.read_text(), re.MULTILINE)
        assert not [name for name in imports if name.startswith(GPL_MODULES)], path


def test_test_files_have_names_of_their_own(root):
    names = [path.name for path in (root / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), "pytest imports test files by their name"


def test_a_container_of_the_settings_holds_every_step(root):
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        parsed = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(config={"study": {"container": "scan2map.sif"}}),
            snakefile=root / "Snakefile",
            workdir=root,
        )
        assert {rule.container_img for rule in parsed._workflow.rules if rule.script} == {"scan2map.sif"}


def test_the_image_installs_the_lock(root):
    definition = (root / "envs" / "apptainer.def").read_text()
    copied = re.search(r"^ +envs/local\.lock (\S+)$", definition, re.MULTILINE)
    assert f"--requirement {copied[1]}" in definition
