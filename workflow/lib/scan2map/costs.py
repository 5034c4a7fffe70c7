"""What a run costs: time, memory and disk per rule, from the benchmark files of earlier runs.

``python -m scan2map.costs RESULTS BENCHMARKS`` prints the table of a study, in the form of ``resources/costs.tsv``.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

COLUMNS = ("rule", "runs", "seconds", "peak_mb", "cpu_percent")
REFERENCE = Path(__file__).resolve().parents[3] / "resources" / "costs.tsv"
# The row that holds the disk space of a session, in the column ``peak_mb``.
DISK = "disk_of_a_session"
SESSION_FOLDERS = ("bids/sub-*/ses-*", "derivatives/*/sub-*/ses-*")


@dataclass(frozen=True)
class Cost:
    """Mean time (s), greatest memory (MB) and mean load (% of one core) of a rule's runs."""

    runs: int
    seconds: float
    peak_mb: float
    cpu_percent: float


def _number(text: str) -> float:
    # Snakemake writes NA or - for what it could not sample: jobs shorter than its first sample.
    return float(text) if text not in {"", "-", "NA"} else 0.0


def _rows(files: Iterable[Path]) -> list[dict[str, str]]:
    rows = []
    for path in sorted(files):
        with path.open(newline="") as handle:
            rows += list(csv.DictReader(handle, delimiter="\t"))
    return rows


def measured_costs(benchmarks) -> dict[str, Cost]:
    """The costs of every rule that has left a benchmark file in ``<benchmarks>/<rule>/``."""
    costs = {}
    for folder in sorted(path for path in Path(benchmarks).glob("*") if path.is_dir()):
        rows = _rows(folder.glob("*.tsv"))
        if rows:
            seconds, memory, load = ([_number(row[name]) for row in rows] for name in ("s", "max_rss", "mean_load"))
            costs[folder.name] = Cost(len(rows), mean(seconds), max(memory), mean(load))
    return costs


def session_disk_mb(results) -> float | None:
    """Mean disk space of a session's BIDS files and derivatives, MB; ``None`` before there is one."""
    sizes: dict[tuple[str, str], int] = {}
    for pattern in SESSION_FOLDERS:
        for folder in Path(results).glob(pattern):
            key = (folder.parent.name, folder.name)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            sizes[key] = sizes.get(key, 0) + size
    return mean(sizes.values()) / 1e6 if sizes else None


def reference_costs(path: Path = REFERENCE) -> dict[str, Cost]:
    """The costs that ship with the project: of one real scan, see ``docs/cluster.md``."""
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return {
        row["rule"]: Cost(int(row["runs"]), *(float(row[name]) for name in ("seconds", "peak_mb", "cpu_percent")))
        for row in rows
    }


def write_costs(results, benchmarks, handle) -> None:
    """Write the costs of a study as a table."""
    table = measured_costs(benchmarks)
    table[DISK] = Cost(1, 0, session_disk_mb(results) or 0, 0)
    writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for rule, cost in table.items():
        writer.writerow([rule, cost.runs, f"{cost.seconds:.1f}", f"{cost.peak_mb:.0f}", f"{cost.cpu_percent:.0f}"])


if __name__ == "__main__":
    write_costs(sys.argv[1], sys.argv[2], sys.stdout)
