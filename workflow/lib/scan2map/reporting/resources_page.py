"""The page of resources: time, memory and disk per rule of a study, and what its trainings took.

These are measurements of one run on one machine: unlike the other pages this one differs from run to run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from scan2map.costs import Cost, measured_costs, session_disk_mb
from scan2map.derivative_tables import write_frame
from scan2map.provenance import commit
from scan2map.reporting.page import render_page, write_page

STEP = "write_resource_page"
DICTIONARY = {
    "rule": {"Description": "Step of the workflow"},
    "jobs": {"Description": "Jobs that left a measurement"},
    "total_s": {"Description": "Sum of their times", "Units": "s"},
    "mean_s": {"Description": "Mean time of a job", "Units": "s"},
    "peak_mb": {"Description": "Greatest resident memory of a job", "Units": "MB"},
    "load_percent": {"Description": "Mean load, 100 is one core", "Units": "%"},
}


def cost_table(costs: dict[str, Cost]) -> pd.DataFrame:
    """Costs per rule, the most expensive first."""
    rows = [
        (rule, cost.runs, round(cost.runs * cost.seconds, 1), round(cost.seconds, 2), cost.peak_mb, cost.cpu_percent)
        for rule, cost in costs.items()
    ]
    return pd.DataFrame(rows, columns=list(DICTIONARY)).sort_values(["total_s", "rule"], ascending=[False, True])


def trainings(results) -> Iterator[dict[str, Any]]:
    """What each finished training of a study took, in the order of their paths."""
    for path in sorted(Path(results).glob("models/*/*/fold-*/seed-*/summary.json")):
        summary = json.loads(path.read_text())
        yield {
            "name": f"{summary['system']}, {summary['variant']}, fold {summary['fold']}, seed {summary['seed']}",
            "steps": summary["steps"],
            "minutes": f"{summary['training_s'] / 60:.1f}",
            "samples_per_s": f"{summary['samples_per_s']:.3g}",
            "device": summary["device_name"],
            "gpu_memory_mb": summary["gpu_memory_mb"],
        }


def write_resource_page(results, benchmarks, *, page, table, study: dict) -> None:
    """Write the page and its table.

    Args:
        results: folder of the study's results.
        benchmarks: folder of its benchmark files, ``<rule>/*.tsv``.
        page: the HTML file, beside the page of the study.
        table: the TSV.
        study: ``title`` and ``kind``.
    """
    costs = cost_table(measured_costs(benchmarks))
    write_frame(table, costs, DICTIONARY, description="Time and memory per rule of this study", step=STEP)
    text = render_page(
        "resources.html.j2",
        study=study,
        costs=costs.to_dict("records"),
        hours=costs["total_s"].sum() / 3600,
        peak_gb=costs["peak_mb"].max() / 1000 if len(costs) else 0.0,
        disk_mb=session_disk_mb(results),
        trainings=list(trainings(results)),
        commit=commit(),
    )
    write_page(page, text)
