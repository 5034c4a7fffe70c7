"""No script imports what its environment lacks: imports followed through the library, needs of packages by metadata."""

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from scan2map.profiles import RULE

LIBRARY = "scan2map"
# Imported only when a setting names the tool: the rule then takes the environment of FSL (function ``environment``).
BY_SETTING = {"nipype", "fsl"}
OF_FSL = "fsl.yaml"
# Looked for before it is imported (doctor.devices_can_be_told).
IF_THERE = {("check.py", "torch")}
# The workflow's own process has Snakemake; jobs get it from Snakemake itself.
FROM_SNAKEMAKE = {"snakemake"}
# Which package brings what is imported at run time only where it is there (training.tensorboard).
OPTIONAL = {"tensorboard"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(environment: Path) -> set[str]:
    content = yaml.safe_load(environment.read_text())
    found = next(item["pip"] for item in content["dependencies"] if isinstance(item, dict))
    return {canonical(pin.split("==")[0]) for pin in found}


@cache
def needs(package: str) -> frozenset[str]:
    """The packages that a package needs, itself included (extras left out)."""
    try:
        required = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return frozenset({package})
    plain = {canonical(re.match(r"[\w.\-]+", line).group()) for line in required if "extra ==" not in line}
    return frozenset({package}).union(*(needs(name) for name in plain - {package}))


@cache
def modules_of(environment: Path) -> frozenset[str]:
    """Top-level modules that an environment offers."""
    installed = frozenset().union(*(needs(name) for name in pins(environment)))
    owners = metadata.packages_distributions()
    return frozenset(module for module, names in owners.items() if {canonical(name) for name in names} & installed)


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, at any depth; what only a type checker sees is left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module.startswith(LIBRARY)}
    return frozenset(found)


def module_file(root: Path, module: str) -> Path | None:
    base = root / "workflow" / "lib" / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def third_party(root: Path, script: Path) -> dict[str, str]:
    """Third-party top-level modules that a script can reach, and the file that imports each."""
    waiting, seen, found = [script], set(), {}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in imports(path):
            top = module.split(".")[0]
            inside = module_file(root, module) if top == LIBRARY else None
            if inside:
                waiting.append(inside)
            elif top not in sys.stdlib_module_names and top != LIBRARY:
                found.setdefault(top, path.name)
    return found


def complaints(root: Path, script: Path, environment: Path) -> list[str]:
    offered = modules_of(environment) | FROM_SNAKEMAKE | OPTIONAL
    by_setting = set() if environment.name == OF_FSL else BY_SETTING
    return [
        f"{script.name} needs {module} ({origin}), {environment.name} lacks it"
        for module, origin in sorted(third_party(root, script).items())
        if module not in offered | by_setting and (script.name, module) not in IF_THERE
    ]


def test_no_script_imports_what_its_environment_lacks(root, rules):
    wrong = []
    for rule in rules:
        environment = root / "envs" / Path(str(rule.conda_env)).name
        script = root / "scripts" / Path(rule.script).name
        wrong += complaints(root, script, environment)
    assert not wrong


def test_steps_that_fsl_may_do_find_everything_in_its_environment(root):
    scripts = []
    for path in sorted((root / "workflow" / "rules").glob("*.smk")):
        scripts += [name for name, body in RULE.findall(path.read_text()) if "environment(" in body]
    assert len(scripts) >= 6
    wrong = {name: complaints(root, root / "scripts" / f"{name}.py", root / "envs" / OF_FSL) for name in scripts}
    assert not [line for lines in wrong.values() for line in lines]


def test_a_missing_package_is_found(root, tmp_path):
    environment = tmp_path / "poor.yaml"
    environment.write_text(yaml.safe_dump({"dependencies": ["python", {"pip": ["numpy==2.4.6"]}]}))
    wrong = complaints(root, root / "scripts" / "fit_tensor.py", environment)
    assert any("needs nibabel" in line for line in wrong)
    assert not any("needs numpy" in line for line in wrong)


@pytest.mark.parametrize("name", ["imaging.yaml", "training.yaml", "ingest.yaml", "fsl.yaml"])
def test_every_pin_of_an_environment_is_installed_here(root, name):
    """What the import test knows of packages it reads from those that are installed."""
    assert all(metadata.version(pin) for pin in pins(root / "envs" / name))
