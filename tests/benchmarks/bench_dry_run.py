"""Planning time of large studies: a dry run of the whole workflow beside Snakemake's floor for as many empty jobs.

The study is an empty BIDS tree whose inventory says that everybody has every modality, so the plan is complete. The
floor is a workflow without settings, input functions, logs or scripts that has as many jobs, with three outputs each,
in chains of twenty. Prints one row per size: jobs per session, processor time and peak memory of both, and their ratio.

Use: python tests/benchmarks/bench_dry_run.py [--subjects 10 100 1000]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = ("01", "02")
ROLES = {
    "t1w": "anat/sub-{0}_ses-{1}_T1w.nii.gz",
    "dwi": "dwi/sub-{0}_ses-{1}_dir-AP_dwi.nii.gz",
    "epi": "fmap/sub-{0}_ses-{1}_dir-PA_epi.nii.gz",
    "asl": "perf/sub-{0}_ses-{1}_asl.nii.gz",
    "m0": "perf/sub-{0}_ses-{1}_m0scan.nii.gz",
}
TABLES = {
    "inventory.tsv": ("subject", "session", "modality", "status", "reason", "remedy"),
    "files.tsv": ("subject", "session", "role", "path"),
    "series.tsv": ("subject", "session", "number", "description", "modality", "used", "reason", "files"),
}
DRY_RUN = ("--dry-run", "--quiet", "rules", "--cores", "1", "--nocolor")
CHAIN = 20
OUTPUTS = 3
FLOOR = """
JOBS = range({jobs})
rule all:
    input: expand("out/{{job}}_{last}_0", job=JOBS)
rule step_0:
    output: [f"out/{{{{job}}}}_0_{{part}}" for part in range({outputs})]
    shell: "touch {{output}}"
{rules}
"""
FLOOR_RULE = """
rule step_{step}:
    input: "out/{{job}}_{before}_0"
    output: [f"out/{{{{job}}}}_{step}_{{part}}" for part in range({outputs})]
    shell: "touch {{output}}"
"""


def pairs(subjects: int) -> list[tuple[str, str]]:
    return [(f"{index:04d}", session) for index in range(subjects) for session in SESSIONS]


def write_rows(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))


def write_study(folder: Path, subjects: int) -> Path:
    """An empty BIDS data set, and the intake's tables that say it is complete."""
    bids = folder / "bids"
    files = [
        (subject, session, role, str(bids / f"sub-{subject}/ses-{session}" / name.format(subject, session)))
        for subject, session in pairs(subjects)
        for role, name in ROLES.items()
    ]
    for *_, path in files:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    (bids / "dataset_description.json").write_text("{}")
    everything = [(*pair, name, "runs", "n/a", "n/a") for pair in pairs(subjects) for name in ("anat", "dwi", "asl")]
    contents = {"inventory.tsv": everything, "files.tsv": files, "series.tsv": []}
    for name, rows in contents.items():
        write_rows(folder / "results" / name, TABLES[name], rows)
    (folder / "results/ingest/bids_index").mkdir(parents=True)
    settings = {
        "pathvars": {name: str(folder / name) for name in ("results", "logs", "benchmarks")},
        "input": {"kind": "bids", "bids_dir": str(bids), "participants": str(folder / "participants.tsv")},
    }
    write_rows(folder / "participants.tsv", ("subject", "session"), pairs(subjects))
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    return folder / "study.yaml"


def plan(*arguments: str, folder: Path) -> tuple[int, float, float]:
    """Jobs, seconds of processor time and peak memory (MiB) of a dry run."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--quiet",
        "rules",
        "--cores",
        "1",
        "--nocolor",
        *arguments,
    ]
    done = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = done.stdout.read()
    _, status, used = os.wait4(done.pid, 0)
    if status:
        raise SystemExit(output[-3000:])
    jobs = int(re.search(r"^total\s+(\d+)", output, re.MULTILINE).group(1))
    return jobs, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def plan_floor(folder: Path, jobs: int) -> tuple[int, float, float]:
    """The same for as many empty jobs, in chains."""
    rules = "".join(FLOOR_RULE.format(step=step, before=step - 1, outputs=OUTPUTS) for step in range(1, CHAIN))
    folder.mkdir()
    workflow = FLOOR.format(jobs=round(jobs / CHAIN), last=CHAIN - 1, outputs=OUTPUTS, rules=rules)
    (folder / "Snakefile").write_text(workflow)
    return plan(folder=folder)


def measure(subjects: int) -> tuple:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = write_study(folder / "study", subjects)
        jobs, seconds, memory = plan("--configfile", str(settings), folder=ROOT)
        floor_jobs, floor_seconds, floor_memory = plan_floor(folder / "floor", jobs)
    per_session = jobs / (subjects * len(SESSIONS))
    per_job = seconds / jobs / (floor_seconds / floor_jobs)
    return subjects, jobs, per_session, seconds, memory, floor_seconds, floor_memory, per_job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--subjects", type=int, nargs="+", default=[10, 100])
    sizes = parser.parse_args().subjects
    print(
        "subjects\tjobs\tjobs_per_session\tcpu_seconds\tmemory_mib\tfloor_cpu_seconds\tfloor_memory_mib\tratio_per_job"
    )
    for row in map(measure, sizes):
        print("\t".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row), flush=True)


if __name__ == "__main__":
    main()
