"""The page of outputs, from a finished study: every kind of file, its unit, its meaning, the step that writes it.

``python -m scan2map.outputs RESULTS`` writes ``docs/outputs.md``. What it says is what the sidecars of the results say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from scan2map.config import SCHEMA_FOLDER
from scan2map.reporting.crate import Result, find_results

PAGE = SCHEMA_FOLDER.parents[1] / "docs" / "outputs.md"
# Parts of a name that differ between subjects, tissues and atlases.
LABELS = (
    (re.compile(r"sub-[A-Za-z0-9]+"), "sub-X"),
    (re.compile(r"ses-[A-Za-z0-9]+"), "ses-Y"),
    (re.compile(r"label-(?:CSF|GM|WM|lesion)_"), "label-<tissue>_"),
    (re.compile(r"(space-T1w_seg)-[A-Za-z0-9]+"), r"\1-<atlas>"),
)
TISSUE = re.compile(r"\b(?:CSF|GM|WM|lesion)\b(?= probability| *$| on the)")
ATLAS = re.compile(r"Atlas regions \(\w+\)")
INTRODUCTION = """# Outputs

Generated from the demo's results by `python -m scan2map.outputs results/demo`. Every image and table has a JSON file
of the same name beside it with description, unit, inputs, settings, step, commit and software; of a table it says what
each column is. `X` and `Y` stand for subject and session; BIDS calls a unit that means nothing `arbitrary`.

| file | what it holds |
|---|---|
| `report/index.html`, `report/sub-X_ses-Y.html` | page of the study, of each session; each is a single file |
| `report/model-<system>.html` | card of each network that predicted |
| `report/resources.html`, `.tsv` | time, memory and disk of the run |
| `report/group.tsv` | numbers of the study page over sessions: tissues, errors, models, agreement, calibration |
| `report/regions.js` | ranges of the regional medians over the study, which the session pages show |
| `figures/index.html`, `figures/<system>/`, `figures/tables/` | figures and tables for papers ([figures](figures.md)) |
| `bids/` | the scans as BIDS data set, without identifiers |
| `inventory.tsv`, `series.tsv`, `files.tsv` | who runs which modality and why not; all series; all files by role |
| `bids_validation.tsv` | what the BIDS validator says |
| `ro-crate-metadata.json` | the run as RO-Crate: each file, the step that made it, its inputs and settings |
"""


def kind_of(path: str) -> str:
    """Name of a file with everything that differs between subjects replaced."""
    for pattern, word in LABELS:
        path = pattern.sub(word, path)
    return path


def kinds(results: Iterable[Result]) -> dict[str, Mapping]:
    """Kinds of files and the sidecar of the first of each."""
    found: dict[str, Mapping] = {}
    for result in results:
        if not result.path.endswith((".bval", ".bvec")):
            found.setdefault(kind_of(result.path), result.sidecar)
    return found


def _meaning(sidecar: Mapping) -> str:
    words = ATLAS.sub("Atlas regions", TISSUE.sub("a tissue", sidecar.get("Description", "")))
    return words.rstrip(".").replace("|", "\\|")


def _columns(sidecar: Mapping) -> list[str]:
    """The columns of a table with their units, as its dictionary names them."""
    described = {name: entry for name, entry in sidecar.items() if isinstance(entry, dict) and "Description" in entry}
    return [f"`{name}`" + (f" ({entry['Units']})" if "Units" in entry else "") for name, entry in described.items()]


def _row(kind: str, sidecar: Mapping) -> str:
    columns = ", ".join(_columns(sidecar)) if kind.endswith(".tsv") else ""
    meaning = _meaning(sidecar) + (f". Columns: {columns}" if columns else "")
    name = Path(kind).name.removeprefix("sub-X_ses-Y_")
    return f"| `{name}` | {sidecar.get('Units', '')} | {meaning} | `{sidecar['GeneratedBy']['Step']}` |"


def outputs_page(results: Iterable[Result]) -> str:
    """The page as Markdown: one table per folder."""
    sections: dict[str, list[str]] = {}
    for kind, sidecar in kinds(results).items():
        sections.setdefault(Path(kind).parent.as_posix(), []).append(_row(kind, sidecar))
    lines = [INTRODUCTION]
    for folder, rows in sections.items():
        lines += [f"## `{folder}/`", "", "| file | unit | what it holds | step |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(outputs_page(find_results(sys.argv[1])))
