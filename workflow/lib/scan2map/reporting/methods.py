"""Methods text for a paper: one sentence per step that ran, from its settings, with the sources it cites."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scan2map.errors import SettingError
from scan2map.reporting.lineage import Lineage

CITATION = re.compile(r"\[@([\w-]+)\]")


@dataclass(frozen=True)
class Reference:
    """One source: key and full text."""

    number: int
    key: str
    text: str
    link: str


@dataclass(frozen=True)
class MethodsText:
    """One paragraph per part of the work, in order, with numbered references."""

    paragraphs: Mapping[str, str]
    references: tuple[Reference, ...]


class _Values(dict):
    """Values for a sentence; a missing one makes the sentence's optional part fall away."""

    def __missing__(self, key):
        raise LookupError(key)


def _variants(entry: Mapping) -> list[str]:
    text = entry["text"]
    return [text] if isinstance(text, str) else list(text)


def sentence(entry: Mapping, values: Mapping[str, Any]) -> str:
    """The first variant of a step's text whose values are all known and whose condition holds.

    Args:
        entry: ``text``: a format string, or a list of them, from the most to the least particular; a variant may be
            ``{when: {name: value}, text: ...}``.
        values: settings and facts of the step.

    Returns:
        The sentence; empty if no variant fits.
    """
    for variant in _variants(entry):
        condition = variant.get("when", {}) if isinstance(variant, Mapping) else {}
        text = variant["text"] if isinstance(variant, Mapping) else variant
        if any(values.get(name) != wanted for name, wanted in condition.items()):
            continue
        try:
            return text.format_map(_Values(values))
        except LookupError:
            continue
    return ""


def _flat(values: Mapping, prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``outer_inner`` names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}_") if isinstance(value, Mapping) else {f"{prefix}{key}": _written(value)}
    return flat


def _written(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(_written(item)) for item in value)
    return f"{value:g}" if isinstance(value, float) else value


def _number_citations(text: str, citations: Mapping[str, Mapping], order: dict[str, int]) -> str:
    def replace(match: re.Match) -> str:
        if match[1] not in citations:
            raise SettingError(f"The methods text cites an unknown source {match[1]!r}", allowed=", ".join(citations))
        return f"[{order.setdefault(match[1], len(order) + 1)}]"

    return CITATION.sub(replace, text)


def methods_text(lineage: Lineage, sentences: Mapping[str, Mapping], citations: Mapping[str, Mapping]) -> MethodsText:
    """Methods text of the steps that ran, in the order of the sentences.

    Args:
        lineage: steps behind the results, with settings and facts.
        sentences: rule name to its ``part`` and ``text``; ``always`` is told whatever ran.
        citations: key to ``text`` and ``doi``.

    Raises:
        SettingError: a sentence cites a source that is not listed.
    """
    order: dict[str, int] = {}
    paragraphs: dict[str, list[str]] = {}
    for name, entry in sentences.items():
        step = lineage.steps.get(name)
        if step is None and name != "always":
            continue
        values = _flat({**lineage.software}) if step is None else _flat(step.settings) | _flat(step.facts)
        text = sentence(entry, values)
        if text:
            paragraphs.setdefault(entry["part"], []).append(_number_citations(text, citations, order))
    references = tuple(
        Reference(place, key, citations[key]["text"], f"https://doi.org/{citations[key]['doi']}")
        for key, place in order.items()
    )
    return MethodsText({part: " ".join(found) for part, found in paragraphs.items()}, references)


def load_methods(folder) -> tuple[dict, dict]:
    """Sentences and citations of ``methods.yaml`` and ``citations.yaml`` in a folder."""
    return tuple(yaml.safe_load((Path(folder) / name).read_text()) for name in ("methods.yaml", "citations.yaml"))
