"""The plan of a run in words: what will run, for whom and why, how long it takes and how much disk it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass

import yaml

from scan2map.costs import DISK, Cost, measured_costs, reference_costs, session_disk_mb
from scan2map.errors import SettingError

JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)+)", re.MULTILINE)
CONSEQUENCE = "Input files updated by another job"
# Snakemake's reasons in words a reader of this page knows.
REASONS = {
    "Missing output files": "not made yet",
    "Updated input files": "its input is newer than its result",
    "Params have changed since last execution": "settings or the step's version have changed",
    "Set of input files has changed since last execution": "it reads other files than before",
    "Software environment definition has changed since last execution": "its software has changed",
    "Incomplete output files": "it was interrupted",
    "Forced execution": "it was asked for",
}
STUDY = "the study as a whole"
TRIGGERS = ("mtime", "input", "params", "software-env")
# A rule without any measurement: a table or a page.
UNMEASURED_S = 5.0


@dataclass(frozen=True)
class Job:
    """One planned job: its rule, whom it is for and Snakemake's reasons."""

    rule: str
    who: str
    reasons: tuple[str, ...]


def _whom(body: str) -> str:
    wildcards = "".join(re.findall(r"^ +wildcards: (.*)$", body, re.MULTILINE))
    found = dict(re.findall(r"(subject|session)=(\w+)", wildcards))
    parts = [f"{short}-{found[name]}" for name, short in (("subject", "sub"), ("session", "ses")) if name in found]
    return " ".join(parts) or STUDY


def _reasons(body: str) -> tuple[str, ...]:
    text = "".join(re.findall(r"^ +reason: (.*)$", body, re.MULTILINE))
    return tuple(part.split(":")[0].strip() for part in text.split("; ") if part)


def parse_jobs(text: str) -> list[Job]:
    """The jobs of Snakemake's dry-run output, without targets that only collect."""
    jobs = [Job(rule, _whom(body), _reasons(body)) for rule, body in JOB.findall(text)]
    return [job for job in jobs if job.rule != "all"]


def planned_jobs(config: dict, snakefile) -> list[Job]:
    """Ask Snakemake for its plan with the settings of this run.

    Raises:
        SettingError: Snakemake cannot plan; the message holds the end of what it said.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
        yaml.safe_dump(config, settings)
        settings.flush()
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--nocolor", "--cores", "1", "--nolock"]
        command += ["--snakefile", str(snakefile), "--configfile", settings.name, "--rerun-triggers", *TRIGGERS]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SettingError("Snakemake cannot plan the run", found=(answer.stdout + answer.stderr)[-1500:])
    return parse_jobs(answer.stdout + answer.stderr)


def causes(jobs: list[Job]) -> list[str]:
    """Why these jobs run, in words; what only follows from another planned job is left out."""
    first = {reason for job in jobs for reason in job.reasons if CONSEQUENCE not in job.reasons}
    first -= {CONSEQUENCE}
    return sorted(REASONS.get(reason, reason) for reason in first) or ["something before it has changed"]


def by_whom(jobs: list[Job]) -> dict[str, list[Job]]:
    """The jobs of each session, and of the study as a whole."""
    groups = defaultdict(list)
    for job in jobs:
        groups[job.who].append(job)
    return dict(groups)


def expected_seconds(rules: list[str], costs: dict[str, Cost]) -> float:
    """Working time of some rules, one after the other."""
    return sum(costs[rule].seconds if rule in costs else UNMEASURED_S for rule in rules)


def later_rules(jobs: list[Job], costs: dict[str, Cost]) -> list[str]:
    """The measured rules of a session that Snakemake plans only after its intake."""
    planned = {job.rule for job in jobs}
    return [rule for rule in costs if rule not in planned and rule != DISK] if "convert_session" in planned else []


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"


def plan_lines(jobs: list[Job], costs: dict[str, Cost], disk_mb: float) -> list[str]:
    """The plan, one sentence per session.

    Args:
        jobs: the planned jobs.
        costs: measured or reference costs per rule.
        disk_mb: disk space of a session.
    """
    if not jobs:
        return ["Nothing will run: all results are up to date."]
    lines, total, new = [], 0.0, 0
    for who, theirs in sorted(by_whom(jobs).items()):
        later = later_rules(theirs, costs)
        seconds = expected_seconds([job.rule for job in theirs] + later, costs)
        total, new = total + seconds, new + bool(later)
        steps = ", ".join(dict.fromkeys(job.rule for job in theirs))
        then = " and all steps after its intake" if later else ""
        lines.append(f"{who}: {steps}{then}; because {' and '.join(causes(theirs))}; about {_duration(seconds)}.")
    sessions = len([who for who in by_whom(jobs) if who != STUDY])
    disk = f" and {new * disk_mb / 1000:.1f} GB of disk for {new} new sessions" if new else ""
    return [f"{len(jobs)} steps for {sessions} sessions: {_duration(total)} of work on one core{disk}.", *lines]


def describe_plan(config: dict, snakefile) -> str:
    """The plan of a run with these settings, in words."""
    reference = reference_costs()
    own = measured_costs(config["pathvars"]["benchmarks"])
    disk_mb = session_disk_mb(config["pathvars"]["results"]) or reference[DISK].peak_mb
    return "\n  ".join(plan_lines(planned_jobs(config, snakefile), reference | own, disk_mb))
