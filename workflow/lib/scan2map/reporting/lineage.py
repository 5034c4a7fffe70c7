"""Where a page's results come from: steps, versions, settings and software, read from their sidecars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scan2map.provenance import sidecar_path

# Sidecar keys that every result has; the others are facts that its step found out.
COMMON_KEYS = {"Description", "Sources", "GeneratedBy", "SoftwareVersions", "Settings", "Units"}


@dataclass
class Step:
    """One step of the workflow, as its results tell.

    Attributes:
        name: name of the rule.
        version: step version.
        commit: commit of the code that ran.
        results: descriptions of the results on the page.
        settings: the settings that it used.
        facts: what it found out (numbers and words, not data dictionaries).
    """

    name: str
    version: int
    commit: str
    results: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lineage:
    """The steps behind a page, by name in order of the files, and the software that they used."""

    steps: Mapping[str, Step]
    software: Mapping[str, str]


def read_sidecar(path) -> dict:
    """The sidecar of a result; empty if it has none."""
    sidecar = sidecar_path(path)
    return json.loads(sidecar.read_text()) if Path(sidecar).is_file() else {}


def _add(steps: dict[str, Step], content: Mapping) -> None:
    made_by = content["GeneratedBy"]
    step = steps.setdefault(
        made_by["Step"], Step(made_by["Step"], made_by.get("StepVersion", 1), made_by.get("Commit", "unknown"))
    )
    if content.get("Description") not in step.results:
        step.results.append(content.get("Description", ""))
    step.settings |= content.get("Settings", {})
    facts = {key: value for key, value in content.items() if key not in COMMON_KEYS}
    step.facts |= {key: value for key, value in facts.items() if not isinstance(value, dict)}


def lineage_of(paths: Iterable) -> Lineage:
    """Read the sidecars of some results; results without one are left out."""
    steps: dict[str, Step] = {}
    software: dict[str, str] = {}
    for path in paths:
        content = read_sidecar(path)
        if "Step" not in content.get("GeneratedBy", {}):
            continue
        _add(steps, content)
        software |= content.get("SoftwareVersions", {})
    return Lineage(steps, software)
