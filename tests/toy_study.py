"""A toy system beside the real ones, for tests of the shared training path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

TOY = Path(__file__).resolve().parent / "fixtures" / "toy_system"
LIBRARY = Path(__file__).resolve().parents[1] / "workflow" / "lib"
# Gives every process the toy: what a folder scan2map/systems/toy inside the library would do.
SITE = """
import scan2map, scan2map.config, scan2map.systems
from pathlib import Path
here = Path(__file__).resolve().parent / "toy"
scan2map.__path__.append(str(here))
scan2map.systems.__path__ = [str(here / "systems")]
scan2map.config.SYSTEM_FOLDER = here / "systems"
"""


def install(folder: Path) -> Path:
    """Put the toy into a folder that other processes can have on their path as ``with_toy``."""
    shutil.copytree(TOY, folder / "toy")
    (folder / "with_toy.py").write_text(SITE)
    return folder


def model(**changes) -> dict:
    """The toy's settings with some values changed (``training=...``, ``compute=...``, ``settings=...``)."""
    from scan2map.training.settings import load_model, variant_of

    raw = yaml.safe_load((TOY / "config/models/toy.yaml").read_text())
    changed = {key: {**raw.get(key, {}), **value} for key, value in changes.items()}
    found = load_model("toy", changed, TOY / "config/models")
    return variant_of("toy", found, "default")


def dataset(folder: Path, labels=("A", "B", "C", "D")) -> list[str]:
    """Data set files of some subjects."""
    from scan2map.systems import load_system

    paths = [folder / f"sub-{label}.safetensors" for label in labels]
    for label, path in zip(labels, paths, strict=True):
        load_system("toy").build_dataset(label, {}, {"points": 64}, path)
    return [str(path) for path in paths]


def job(folder: Path, data: list[str], settings: dict, seed: int = 1):
    """A training of the toy whose results go to a folder."""
    from scan2map.training.job import TrainingJob

    names = {"weights": "weights.safetensors", "summary": "summary.json", "history": "history.tsv"}
    files = {key: str(folder / name) for key, name in names.items()}
    parts = {"train": tuple(data[:2]), "validation": tuple(data[2:3]), "checkpoints": str(folder / "checkpoints")}
    return TrainingJob("toy", "default", "main", seed, settings, **parts, **files)


def start(installed: Path, job_file: Path) -> subprocess.Popen:
    """Start a process that trains a saved job."""
    code = "import with_toy; from scan2map.training.job import main; main()"
    return start_program(installed, ["-c", code, str(job_file)])


def start_program(installed: Path, arguments: list[str]) -> subprocess.Popen:
    """Start Python with the toy on its path."""
    path = os.pathsep.join([str(LIBRARY), str(installed)])
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
