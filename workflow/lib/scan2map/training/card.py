"""Model cards: what a package is for, what it learned from, what it cannot do, its numbers (Mitchell et al. 2019)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scan2map.provenance import write_json
from scan2map.systems import load_system

METRICS = "metrics.tsv"
COHORTS = {"phantom": "simulated subjects (digital phantom)", "study": "subjects of the study"}


def _metrics(folder: Path) -> list[dict[str, str]]:
    path = folder / METRICS
    if not path.is_file():
        return []
    from scan2map.reporting.states import read_rows

    return read_rows(path)


def card_content(folder) -> dict[str, Any]:
    """Everything on the card of a package, from its own files."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    description = load_system(config["system"]).description
    counts = {part: len(labels) for part, labels in config["subjects"].items()}
    return {
        "system": config["system"],
        "title": description.title,
        "variant": config["variant"],
        "intended_use": description.intended_use,
        "limits": list(description.limits),
        "cohort": COHORTS[config["cohort"]],
        "simulated": config["cohort"] == "phantom",
        "subjects": counts,
        "acquisition": config["acquisition"],
        "seeds": config["seeds"],
        "training": config["training"],
        "settings": config["settings"],
        "members": config["members"],
        "data_sha256": config["data_sha256"],
        "source_sha256": config["source_sha256"],
        "weights_sha256": config["weights_sha256"],
        "software": config["software"],
        "commit": config["commit"],
        "metrics": _metrics(folder),
    }


def write_card(folder) -> None:
    """Write ``card.json`` and ``card.md`` into a package."""
    content = card_content(folder)
    write_json(Path(folder) / "card.json", content)
    (Path(folder) / "card.md").write_text(card_text(content))


def card_text(content: dict[str, Any]) -> str:
    """The card as Markdown."""
    data = ", ".join(f"{count} {part}" for part, count in content["subjects"].items())
    lines = [f"# {content['title']} ({content['system']}, variant {content['variant']})", ""]
    lines += ["Research software; not a medical device.", "", "## Intended use", "", content["intended_use"], ""]
    lines += ["## Limits", "", *(f"- {limit}" for limit in content["limits"]), ""]
    lines += ["## Training data", "", f"{content['cohort'].capitalize()}: {data}.", ""]
    lines += ["## Acquisition that it demands", "", *_demands(content["acquisition"]), ""]
    lines += ["## Numbers", "", *_numbers(content["metrics"]), ""]
    lines += ["## Made by", "", f"Seeds {', '.join(map(str, content['seeds']))}; commit `{content['commit']}`."]
    lines += [f"SHA-256 of weights `{content['weights_sha256']}`, data `{content['data_sha256']}`."]
    return "\n".join(lines) + "\n"


def _demands(acquisition: dict[str, dict]) -> list[str]:
    from scan2map.training.acquisition import words

    return [f"- {name}: {words(demand)}" for name, demand in acquisition.items()] or ["None."]


def _numbers(metrics: list[dict[str, str]]) -> list[str]:
    if not metrics:
        return ["Not validated yet."]
    head = ["| figure | value | 95 % interval | target | met |", "|---|---|---|---|---|"]
    cells = ([row["description"], row["value"], _interval(row), row["target"], row["met"]] for row in metrics)
    return head + ["| " + " | ".join(found) + " |" for found in cells]


def _interval(row: dict[str, str]) -> str:
    return f"{row['ci_low']} to {row['ci_high']}" if row["ci_low"] else ""


def write_card_page(folder, out) -> None:
    """Render the card of a package as a page.

    Args:
        folder: the package.
        out: the HTML file.
    """
    from scan2map.provenance import commit
    from scan2map.reporting.page import render_page, write_page
    from scan2map.training.acquisition import words
    from scan2map.training.package import verify

    verify(folder)
    content = json.loads((Path(folder) / "card.json").read_text())
    demands = {name: words(demand) for name, demand in content["acquisition"].items()}
    write_page(out, render_page("model.html.j2", card=content, demands=demands, commit=commit()))
