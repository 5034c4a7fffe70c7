"""Targets of the learned systems as they are written down. Light to import: the rules read them."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import yaml

from scan2map.errors import SettingError

# ``none``: a figure that is reported beside the others, without a target of its own.
OPERATORS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq, "none": None}
NEEDED = {"id", "description", "metric", "op", "number", "unit"}
DEFAULTS = {"variant": "", "method": "network", "condition": "", "roi": "brain", "aggregation": "mean", "over": None}
KEYS = ("variant", "method", "condition", "roi", "metric")


def load_model_targets(path, variant: str) -> list[dict[str, Any]]:
    """Targets of a system.

    Args:
        path: YAML with a list ``targets``. Each names rows of the long table (``variant``, ``method``, ``condition``,
            ``roi``, ``metric``), how subjects are aggregated, and the target. ``over`` names other rows (only what
            differs): the figure is then the ratio to them; ``difference: true`` makes it the difference.
        variant: the variant that a target without one means.

    Raises:
        SettingError: an entry is not valid, or an id stands twice.
    """
    targets = yaml.safe_load(Path(path).read_text())["targets"]
    known = NEEDED | set(DEFAULTS) | {"difference"}
    broken = [
        entry.get("id")
        for entry in targets
        if not NEEDED <= set(entry) <= known or entry["op"] not in OPERATORS or set(entry.get("over") or {}) - set(KEYS)
    ]
    identifiers = [entry["id"] for entry in targets if not broken]
    doubled = sorted({name for name in identifiers if identifiers.count(name) > 1})
    if broken or doubled:
        allowed = ", ".join(sorted(known))
        raise SettingError("The table of targets is not valid", file=path, found=broken or doubled, allowed=allowed)
    return [{**DEFAULTS, "difference": False, **entry, "variant": entry.get("variant", variant)} for entry in targets]


def target_variants(path, variant: str) -> list[str]:
    """The variants whose packages a system's targets need; just ``variant`` where there are no targets."""
    if not Path(path).is_file():
        return [variant]
    targets = load_model_targets(path, variant)
    named = [target["variant"] for target in targets]
    named += [(target["over"] or {}).get("variant", target["variant"]) for target in targets]
    return list(dict.fromkeys(named))
