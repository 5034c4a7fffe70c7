"""Planning time of large studies: a dry run of the whole workflow beside Snakemake's floor for as many empty jobs.

The study is an empty BIDS tree whose inventory says that everybody has every modality, so the plan is complete. Two
floors, each with as many jobs in chains of twenty: "bare" rules with one input, three outputs and a shell command; and
rules of the same "shape" as ours, with seven named inputs, three named outputs, log, benchmark, environment,
parameters, resources and a script, but without settings or input functions. Prints one row per size: jobs, processor
time and peak memory of each, and the ratio of the times per job.

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
INPUTS = 7
TARGET = """
rule all:
    input: expand("out/{{job}}_{last}_0", job=range({chains}))
"""
BARE = """
rule step_{step}:
    input: {first}
    output: {outputs}
    shell: "touch {{output}}"
"""
SHAPED = """
rule step_{step}:
    input: {inputs}
    output: {outputs}
    log: "logs/step_{step}/{{job}}.log"
    benchmark: "benchmarks/step_{step}/{{job}}.tsv"
    conda: "environment.yaml"
    threads: 1
    resources: mem_mb=1000, runtime=5
    params: settings={{"key": 1, "list": [1, 2, 3]}}, step_version=1
    script: "script.py"
"""
COLUMNS = (
    "subjects", "jobs", "cpu_s", "memory_mib", "bare_cpu_s", "bare_memory_mib", "shape_cpu_s", "shape_memory_mib",
    "ratio_to_bare", "ratio_to_shape",
)  # fmt: skip


def pairs(subjects: int) -> list[tuple[str, str]]:
    return [(f"{index:04d}", session) for index in range(subjects) for session in SESSIONS]


def write_rows(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))


def write_study(folder: Path, subjects: int) -> Path:
    """An empty BIDS data set, and the intake's tables that say it is complete; the folder is relative."""
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
    command = [sys.executable, "-m", "snakemake", *DRY_RUN, *arguments]
    done = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = done.stdout.read()
    _, status, used = os.wait4(done.pid, 0)
    if status:
        raise SystemExit(output[-3000:])
    jobs = int(re.search(r"^total\s+(\d+)", output, re.MULTILINE).group(1))
    return jobs, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def floor_rule(template: str, step: int) -> str:
    """One rule of a floor; its inputs are the outputs of the steps before it, nearest first."""
    before = [f"out/{{job}}_{past}_{part}" for past in range(step - 1, -1, -1) for part in range(OUTPUTS)][:INPUTS]
    inputs = ", ".join(f'i{index}="{path}"' for index, path in enumerate(before))
    outputs = ", ".join(f'o{part}="out/{{job}}_{step}_{part}"' for part in range(OUTPUTS))
    first = f'"{before[0]}"' if before else ""
    return template.format(step=step, first=first, inputs=inputs, outputs=outputs)


def plan_floor(folder: Path, jobs: int, template: str) -> tuple[int, float, float]:
    """The same for as many empty jobs, in chains."""
    folder.mkdir()
    (folder / "script.py").write_text("")
    (folder / "environment.yaml").write_text("channels: [conda-forge]\ndependencies: [python]\n")
    target = TARGET.format(last=CHAIN - 1, chains=round(jobs / CHAIN))
    rules = "".join(floor_rule(template, step) for step in range(CHAIN))
    (folder / "Snakefile").write_text(target + rules)
    return plan(folder=folder)


def measure(subjects: int) -> tuple:
    (ROOT / "work").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "work") as scratch:
        folder = Path(scratch)
        # Relative, as a study's own paths are: Snakemake compares paths letter by letter.
        settings = write_study(folder.relative_to(ROOT) / "study", subjects)
        ours = plan("--configfile", str(settings), folder=ROOT)
        bare = plan_floor(folder / "bare", ours[0], BARE)
        shaped = plan_floor(folder / "shape", ours[0], SHAPED)
    per_job = [seconds / jobs for jobs, seconds, _ in (ours, bare, shaped)]
    return subjects, *ours, *bare[1:], *shaped[1:], per_job[0] / per_job[1], per_job[0] / per_job[2]


def main() -> None:
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--subjects", type=int, nargs="+", default=[10, 100])
    sizes = parser.parse_args().subjects
    print("\t".join(COLUMNS), flush=True)
    for row in map(measure, sizes):
        print("\t".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row), flush=True)


if __name__ == "__main__":
    main()
