"""Settings: each key documented, read somewhere, and the pages generated from the schemas up to date."""

import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from scan2map import config

SYSTEMS = [f"system:{name}" for name in config.system_names()]
BLOCKS = [*config.block_names(), *config.FILE_SCHEMAS, *SYSTEMS]
SCHEMAS = sorted([*BLOCKS, *config.TABLE_SCHEMAS])


def load_schema(name):
    kind, _, system = name.partition(":")
    return config.load_system_schema(system) if kind == "system" else config.load_schema(name)


def leaves(name):
    return list(config._leaves(load_schema(name)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_closed(name):
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)

    def objects(node):
        if "properties" in node:
            yield node
            for child in node["properties"].values():
                yield from objects(child)

    assert all(node.get("additionalProperties") is False for node in objects(schema))


@pytest.mark.parametrize("name", BLOCKS)
def test_every_key_has_type_default_unit_and_description(name):
    for key, leaf in leaves(name):
        missing = {"default", "unit", "description"} - set(leaf)
        assert not missing, f"{name}.{key} lacks {missing}"
        assert {"type", "enum"} & set(leaf), f"{name}.{key} has no type"


def test_reference_page_is_up_to_date(root):
    assert (root / "config" / "README.md").read_text() == config.reference_page(), "run: make docs"


def test_every_key_is_read_somewhere(root):
    files = [root / "Snakefile"]
    for folder, pattern in (("workflow/lib", "*.py"), ("workflow/rules", "*.smk"), ("workflow/report", "*")):
        files += (root / folder).rglob(pattern)
    code = "\n".join(
        path.read_text()
        for path in files
        if path.is_file() and path.suffix not in {".pyc"} and path.name != "config.py"
    )
    unread = [
        f"{name}.{key}"
        for name in BLOCKS
        for key, _ in leaves(name)
        if not re.search(rf"\b{re.escape(key.split('.')[-1])}\b", code)
    ]
    assert not unread


@pytest.mark.parametrize("folder", ["config", "config/demo", "config/xa30"])
def test_shipped_configurations_are_valid(root, folder):
    raw = yaml.safe_load((root / folder / "config.yaml").read_text())
    checked = config.check_config(raw)
    assert set(config.block_names()) <= set(checked)
    assert set(checked["pathvars"]) == {"results", "logs", "benchmarks"}
