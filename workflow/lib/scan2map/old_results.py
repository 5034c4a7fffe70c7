"""Results that an earlier version of a step has made: found by their sidecars, named by step and subject."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from scan2map.versions import step_version


def versions_in_use(derivatives: Iterable) -> dict[str, dict[int, set[str]]]:
    """Which versions of each step made the results that lie in derivative data sets.

    Args:
        derivatives: the folders of the data sets.

    Returns:
        Step → version → sessions (``sub-01 ses-01``).
    """
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for root in map(Path, derivatives):
        for path in root.glob("sub-*/ses-*/*/*.json"):
            made = json.loads(path.read_text()).get("GeneratedBy")
            if isinstance(made, dict) and "StepVersion" in made:
                session = " ".join(path.relative_to(root).parts[:2])
                found[made["Step"]][made["StepVersion"]].add(session)
    return {step: dict(versions) for step, versions in found.items()}


def old_results(derivatives: Iterable) -> list[str]:
    """One sentence per step whose results were made by different versions, or by another one than today's."""
    lines = []
    for step, versions in sorted(versions_in_use(derivatives).items()):
        if set(versions) != {step_version(step)}:
            parts = [f"version {number}: {', '.join(sorted(who))}" for number, who in sorted(versions.items())]
            lines.append(f"{step} is at version {step_version(step)}; its results are of {'; '.join(parts)}")
    return lines


def report_old_results(derivatives: Iterable) -> str:
    """The same as one message."""
    lines = old_results(derivatives)
    if not lines:
        return "All results were made by today's versions of their steps."
    return "\n  ".join(["Results of other versions of a step:", *lines])
