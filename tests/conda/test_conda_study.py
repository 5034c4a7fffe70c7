"""``snakemake --sdm conda``: the environments are solved and linked, and every step of a study runs in its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clone import THUMBNAIL, clone
from test_environment_imports import BY_SETTING, FROM_SNAKEMAKE, IF_THERE, OF_FSL, third_party
from test_learning import RESULTS, SPLIT, add_toy, split

# A package of the project's that Snakemake does not bring, for each environment.
OURS = ("nibabel", "torch", "dipy")
ENVIRONMENTS = ("imaging.yaml", "ingest.yaml", "training.yaml", OF_FSL)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(driver, prefix, root, tmp_path_factory):
    """A thumbnail study with every modality and a learned system, made by a Snakemake that knows nothing else."""
    copy = clone(root, tmp_path_factory.mktemp("conda"))
    add_toy(copy)
    copy.configure(study={"title": "Conda"}, input={"kind": "phantom"}, learning={"systems": ["toy"]})
    split(copy, SPLIT)
    copy.participants([("01", "01", "n/a")])
    command = [driver, "-m", "snakemake", "--profile", "config/profiles/local", "--cores", "2", "--nocolor"]
    command += ["--sdm", "conda", "--conda-prefix", str(prefix), "--configfile", THUMBNAIL, "config/study.yaml"]
    # Without the folder of the project's own programs: dcm2niix and BIDScoin must come from their environment.
    folders = [name for name in os.environ["PATH"].split(os.pathsep) if Path(name) != Path(sys.executable).parent]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    clean["PATH"] = os.pathsep.join(folders)
    command += ["--", *RESULTS]
    finished = subprocess.run(command, cwd=copy.folder, env=clean, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-6000:]
    return copy


@pytest.fixture(scope="module")
def environments(study, prefix, root) -> dict[str, str]:
    """The Python of each environment, by the name of its file; FSL's is made here, no step of the study asks for it."""
    made = {name_of(path): path.with_suffix("") for path in prefix.glob("*.yaml")}
    files = {file: name_of(root / "envs" / file) for file in ENVIRONMENTS}
    fsl = prefix / "fsl"
    subprocess.run(["conda", "env", "create", "--file", root / "envs" / OF_FSL, "--prefix", fsl], check=True)
    return {file: str((made | {files[OF_FSL]: fsl})[name] / "bin/python") for file, name in files.items()}


def name_of(path: Path) -> str:
    return yaml.safe_load(path.read_text())["name"]


def imports(python: str, *modules: str) -> subprocess.CompletedProcess:
    command = [python, "-I", "-c", f"import {', '.join(modules)}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_study_is_made_by_environments_of_its_own(study, driver):
    assert (study / "results/report/index.html").is_file()
    assert (study / "results/report/sub-01_ses-01.html").stat().st_size > 50_000
    assert all(imports(driver, module).returncode for module in OURS), (
        "Snakemake's environment could stand in for others"
    )


def test_a_package_that_an_environment_lacks_is_not_found_elsewhere(environments):
    assert imports(environments["ingest.yaml"], "torch").returncode
    assert not imports(environments["ingest.yaml"], "nibabel").returncode


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_the_scripts_of_an_environment_import_is_in_it(environments, root, rules, name):
    scripts = {root / "scripts" / os.path.basename(rule.script) for rule in rules if str(rule.conda_env).endswith(name)}
    if name == OF_FSL:
        scripts = {root / "scripts/estimate_field.py", root / "scripts/correct_motion.py"}
    known = FROM_SNAKEMAKE | (set() if name == OF_FSL else BY_SETTING)
    reached = {(script.name, module) for script in scripts for module in third_party(root, script)}
    wanted = {module for _, module in reached - IF_THERE} - known
    result = imports(environments[name], *sorted(wanted))
    assert result.returncode == 0, result.stderr
