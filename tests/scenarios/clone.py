"""A clean copy of the project in which a scenario runs Snakemake, as a user in a fresh clone would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

THUMBNAIL = "config/phantom/thumbnail.yaml"


@dataclass(frozen=True)
class Clone:
    """A copy of the tracked files, with its own results, logs and settings."""

    folder: Path

    def configure(self, **blocks) -> None:
        """Write the study's own settings file."""
        (self.folder / "config" / "study.yaml").write_text(yaml.safe_dump(blocks))

    def participants(self, rows: list[tuple[str, ...]]) -> None:
        """Write the table of subjects: (subject, session, dicom)."""
        lines = ["\t".join(row) for row in [("subject", "session", "dicom"), *rows]]
        (self.folder / "config" / "participants.tsv").write_text("\n".join(lines) + "\n")

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake with the local profile; standard output and error in one text."""
        command = [sys.executable, "-m", "snakemake", "--profile", "config/profiles/local", "--cores", "2"]
        command += ["--nocolor", "--configfile", THUMBNAIL, "config/study.yaml", *arguments]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | {"PATH": programs, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run Snakemake to its end."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def __truediv__(self, path: str) -> Path:
        return self.folder / path


def clone(root: Path, folder: Path) -> Clone:
    """Copy the files that git tracks."""
    listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, listing.stdout.split("\0")):
        source, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return Clone(folder)
