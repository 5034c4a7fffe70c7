"""Write what is generated: ``config/README.md``, the README's validation numbers, resources in the Slurm profile."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from scan2map import config, profiles

ROOT = config.SCHEMA_FOLDER.parents[1]
MARKERS = re.compile(r"(<!-- validation: written by make docs -->\n).*?(<!-- validation: end -->)", re.DOTALL)


def _number(text: str) -> str:
    return f"{float(text):.4g}" if text else ""


def _validation_row(row: dict[str, str]) -> str:
    interval = f"{_number(row['ci_low'])} to {_number(row['ci_high'])}" if row["ci_low"] else "one scan"
    cells = (row["description"], _number(row["value"]), interval, row["target"], row["met"])
    return "| " + " | ".join(cells) + " |"


def validation_table(folder: Path) -> str:
    """Markdown table of every figure with a target in the validation folder's TSV files."""
    lines = ["| figure | value | 95 % interval | target | met |", "|---|---|---|---|---|"]
    for path in sorted(folder.glob("*.tsv")):
        with path.open(newline="") as handle:
            rows = csv.DictReader(handle, delimiter="\t")
            lines += [_validation_row(row) for row in rows if row["met"]]
    return "\n".join(lines) + "\n"


def readme(text: str, folder: Path) -> str:
    """The README with its validation table brought up to date."""
    return MARKERS.sub(lambda match: match[1] + validation_table(folder) + match[2], text)


def main() -> None:
    """Write the generated pages and the generated part of the profile."""
    (ROOT / "config" / "README.md").write_text(config.reference_page())
    page = ROOT / "README.md"
    page.write_text(readme(page.read_text(), ROOT / "docs" / "validation"))
    slurm = ROOT / "config" / "profiles" / "slurm" / "profile.yaml"
    slurm.write_text(profiles.profile(slurm.read_text(), ROOT / "workflow" / "rules"))


if __name__ == "__main__":
    main()
