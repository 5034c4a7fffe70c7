"""The commands that configurations and pages give can be planned: their targets, systems and variants exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_HEAD = re.compile(r"^#   (snakemake (?:[^\n]*\\\n#)*[^\n]*)", re.MULTILINE)
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_BLOCK = re.compile(r"^(snakemake (?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
# Of a user's own study or machine: a scan, a cluster's profile, results of other commands, a system to come.
APART = re.compile(r"xa30|slurm|sources\.yaml|--report|--unlock|<name>")
SYSTEMS = ("asl_quantnet", "asl_denoise", "dwi_vae", "bssfp_dti", "ctmr_fusion")


def words_of(command: str) -> list[str]:
    """Its arguments as a shell gives them: without quotes and comments, braces expanded."""
    answer = subprocess.run(["bash", "-c", rf"printf '%s\0' {command}"], capture_output=True, text=True, check=True)
    return answer.stdout.split("\0")[1:-1]


def commands() -> dict[str, list[str]]:
    """Every command, by the first file and place that gives it."""
    found = {}
    for path in sorted([*(ROOT / "config").rglob("*.yaml"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]):
        text = path.read_text()
        given = IN_HEAD.findall(text) if path.suffix == ".yaml" else IN_BLOCK.findall("\n".join(BLOCK.findall(text)))
        for place, command in enumerate(given):
            if APART.search(command):
                continue
            words = words_of(command.replace("\\\n#", "\\\n"))
            if words not in found.values():
                found[f"{path.relative_to(ROOT).as_posix()}:{place}"] = words
    return found


COMMANDS = commands()


def test_every_system_has_a_command_at_demo_scale():
    assert {name.partition(":")[0] for name in COMMANDS} >= {f"config/demo/{system}.yaml" for system in SYSTEMS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_can_be_planned(name):
    words = COMMANDS[name]
    split = words.index("--") if "--" in words else len(words)
    command = [sys.executable, "-m", "snakemake", *words[:split], "--dry-run", "--quiet", "--nolock", *words[split:]]
    environment = os.environ | {"NO_COLOR": "1"}
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
