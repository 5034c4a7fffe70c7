"""Settings: read, filled with defaults, checked against their schemas, and documented from them.

Every block of the configuration has one JSON Schema in ``workflow/schemas/<block>.schema.yaml`` that gives each
key a type, a default, a unit and a description. Unknown keys are refused.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scan2map.errors import SettingError

SCHEMA_FOLDER = Path(__file__).resolve().parents[2] / "schemas"
SYSTEM_FOLDER = Path(__file__).resolve().parent / "systems"
# Tables (one schema per row), the model files and Snakemake's own top-level keys are not configuration blocks.
TABLE_SCHEMAS = {"participants", "exclusions", "split"}
FILE_SCHEMAS = {"model"}
FOREIGN_KEYS = {"pathvars"}


@cache
def load_schema(name: str) -> dict:
    """The schema of a configuration block or table."""
    return yaml.safe_load((SCHEMA_FOLDER / f"{name}.schema.yaml").read_text())


def block_names() -> list[str]:
    """The names of all configuration blocks, sorted."""
    names = (path.name.removesuffix(".schema.yaml") for path in SCHEMA_FOLDER.glob("*.schema.yaml"))
    return sorted(set(names) - TABLE_SCHEMAS - FILE_SCHEMAS)


def system_names() -> list[str]:
    """The learned systems: the folders of ``scan2map/systems`` that describe their settings."""
    return sorted(path.parent.name for path in SYSTEM_FOLDER.glob("*/settings.schema.yaml"))


@cache
def load_system_schema(system: str) -> dict:
    """The schema of the block ``settings`` in a system's model file."""
    return yaml.safe_load((SYSTEM_FOLDER / system / "settings.schema.yaml").read_text())


def defaults(schema: dict) -> Any:
    """The default value of a schema: its own ``default``, or the object of its properties' defaults."""
    if "default" in schema or "properties" not in schema:
        return copy.deepcopy(schema.get("default"))
    return {key: defaults(child) for key, child in schema["properties"].items()}


def merge(base: Any, override: Any) -> Any:
    """A nested mapping with the values of another one in place; neither is changed."""
    if not (isinstance(base, dict) and isinstance(override, dict)):
        return copy.deepcopy(override)
    merged = {key: merge(value, override[key]) if key in override else value for key, value in base.items()}
    return merged | {key: copy.deepcopy(value) for key, value in override.items() if key not in base}


def _types(schema: dict) -> set[str]:
    kind = schema.get("type", [])
    return {kind} if isinstance(kind, str) else set(kind)


def _typed(value: Any, schema: dict) -> Any:
    """Read text where the schema wants no text: Snakemake's ``--config`` hands nested numbers over as strings."""
    if isinstance(value, dict):
        children = schema.get("properties", {})
        return {key: _typed(child, children.get(key, {})) for key, child in value.items()}
    if isinstance(value, list):
        return [_typed(item, schema.get("items", {})) for item in value]
    if isinstance(value, str) and _types(schema) - {"null"} and "string" not in _types(schema):
        return yaml.safe_load(value)
    return None if value == "null" and "null" in _types(schema) else value


def _allowed(error) -> str:
    schema = error.schema
    parts = []
    if "enum" in schema:
        parts.append("one of " + ", ".join(map(str, schema["enum"])))
    if "type" in schema:
        parts.append(str(schema["type"]))
    if "minimum" in schema or "maximum" in schema:
        parts.append(f"{schema.get('minimum', '-inf')} to {schema.get('maximum', 'inf')}")
    if "exclusiveMinimum" in schema:
        parts.append(f"above {schema['exclusiveMinimum']}")
    parts.append(schema.get("unit", ""))
    return " ".join(part for part in parts if part)


def _unknown_key(block: str, error) -> SettingError:
    known = list(error.schema.get("properties", {}))
    unknown = sorted(set(error.instance) - set(known))
    where = ".".join([block, *map(str, error.absolute_path)])
    guess = difflib.get_close_matches(unknown[0], known, n=1)
    remedy = f"did you mean {guess[0]!r}?" if guess else f"the keys of {where} are listed in config/README.md"
    return SettingError(f"Unknown setting {where}.{unknown[0]}", allowed=", ".join(known), remedy=remedy)


def _wrong_value(block: str, error) -> SettingError:
    if error.validator == "additionalProperties":
        return _unknown_key(block, error)
    where = ".".join([block, *map(str, error.absolute_path)])
    return SettingError(
        f"The setting {where} is not valid ({error.message})",
        found=repr(error.instance),
        allowed=_allowed(error) or None,
        remedy="correct it in the configuration; config/README.md describes every key",
    )


def check_block(block: str, values: dict, schema: dict | None = None) -> dict:
    """Fill a block with defaults and check it.

    Raises:
        SettingError: unknown key, wrong type or value; the message names the key, what was found, what is allowed.
    """
    from jsonschema import Draft202012Validator

    schema = schema or load_schema(block)
    filled = merge(defaults(schema), _typed(values or {}, schema))
    errors = sorted(Draft202012Validator(schema).iter_errors(filled), key=lambda error: list(map(str, error.path)))
    if errors:
        raise _wrong_value(block, errors[0])
    return filled


def check_config(raw: dict) -> dict:
    """Check a whole configuration.

    Args:
        raw: the merged YAML files and command-line settings.

    Returns:
        Every block, filled with defaults.

    Raises:
        SettingError: an unknown block or an invalid block.
    """
    blocks = block_names()
    unknown = sorted(set(raw) - set(blocks) - FOREIGN_KEYS)
    if unknown:
        guess = difflib.get_close_matches(unknown[0], blocks, n=1)
        remedy = f"did you mean {guess[0]!r}?" if guess else "config/README.md lists the blocks"
        raise SettingError(
            f"Unknown block {unknown[0]!r} in the configuration", allowed=", ".join(blocks), remedy=remedy
        )
    checked = {block: check_block(block, raw.get(block) or {}) for block in blocks}
    return checked | {key: raw[key] for key in FOREIGN_KEYS if key in raw}


def _type_of(schema: dict) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    limits = [f"≥ {schema['minimum']}"] if "minimum" in schema else []
    limits += [f"> {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
    limits += [f"≤ {schema['maximum']}"] if "maximum" in schema else []
    return " ".join([kind, *limits])


def _leaves(schema: dict, prefix: str = "") -> Iterator[tuple[str, dict]]:
    for key, child in schema.get("properties", {}).items():
        if "properties" in child and "default" not in child:
            yield from _leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ").strip()


def _rows(schema: dict) -> list[str]:
    rows = ["| key | type | default | unit | meaning |", "|---|---|---|---|---|"]
    for key, leaf in _leaves(schema):
        default = yaml.safe_dump(leaf.get("default"), default_flow_style=True, width=10**6).replace("...", "")
        cells = (f"`{key}`", _type_of(leaf), f"`{default.strip()}`", leaf.get("unit", ""), leaf.get("description", ""))
        rows.append("| " + " | ".join(map(_cell, cells)) + " |")
    return rows


def reference_page() -> str:
    """The text of ``config/README.md``: every block, key, type, default, unit and meaning."""
    header = (SCHEMA_FOLDER / "README.header.md").read_text().rstrip()
    lines = [header]
    for block in block_names():
        schema = load_schema(block)
        lines += ["", f"## `{block}`", "", schema.get("description", ""), "", *_rows(schema)]
    for table in sorted(TABLE_SCHEMAS):
        schema = load_schema(table)
        lines += ["", f"## Table `{table}.tsv`", "", schema.get("description", ""), "", *_rows(schema)]
    models = {"models/<system>.yaml": load_schema("model")}
    models |= {f"models/{name}.yaml`, `settings": load_system_schema(name) for name in system_names()}
    for name, schema in models.items():
        lines += ["", f"## `{name}`", "", schema.get("description", ""), "", *_rows(schema)]
    return "\n".join(lines) + "\n"
