"""The part of the Slurm profile that repeats what the rules declare: memory and time, growing with each attempt."""

from __future__ import annotations

import re
from pathlib import Path

RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"(# resources: written by make docs\n).*?(# resources: end\n)", re.DOTALL)
# A job starts two nested Snakemakes and imports its libraries, from a shared folder that may be slow.
LEAST_MINUTES = 10


def _declared(body: str, resource: str) -> int | None:
    """The number that a rule gives for a resource; a function can grow with the attempt by itself."""
    found = re.search(rf"^ +{resource}=(\d+),$", body, re.MULTILINE)
    return int(found[1]) if found else None


def growing_resources(rules: Path) -> dict[str, dict[str, str]]:
    """What each rule file's rules ask for on a cluster: what they declare, times the attempt.

    Args:
        rules: the folder of ``.smk`` files.

    Returns:
        Rule name → ``mem_mb`` and ``runtime`` as Snakemake expressions.
    """
    table = {}
    for path in sorted(rules.glob("*.smk")):
        for name, body in RULE.findall(path.read_text()):
            memory, minutes = _declared(body, "mem_mb"), _declared(body, "runtime")
            wanted = {"mem_mb": memory, "runtime": minutes and max(minutes, LEAST_MINUTES)}
            table[name] = {key: f"{value} * attempt" for key, value in wanted.items() if value}
    return {name: entry for name, entry in table.items() if entry}


def profile(text: str, rules: Path) -> str:
    """The Slurm profile with its block of resources brought up to date."""
    lines = [
        f"  {name}: {{{', '.join(f'{key}: {value}' for key, value in entry.items())}}}\n"
        for name, entry in growing_resources(rules).items()
    ]
    return BLOCK.sub(lambda match: match[1] + "".join(["set-resources:\n", *lines]) + match[2], text)
