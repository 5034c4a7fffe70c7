"""What every result says about itself: inputs, settings, units, step version, commit, software."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import scan2map
from scan2map.versions import step_version

LIBRARIES = ("numpy", "scipy", "torch", "nibabel", "dipy", "antspyx", "snakemake")


@cache
def commit() -> str:
    """The commit of the code that runs, with ``-dirty`` when the tree has changes; ``unknown`` outside git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


@cache
def software_versions() -> dict[str, str]:
    """Version of scan2map and of the libraries that decide its numbers."""
    versions = {"scan2map": scan2map.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def sidecar_path(image_path) -> Path:
    """The JSON file that belongs to an image or table."""
    path = Path(image_path)
    stem = path.name.removesuffix(".gz")
    for extension in (".nii", ".tsv", ".txt", ".mat"):
        stem = stem.removesuffix(extension)
    return path.with_name(stem + ".json")


def write_json(path, content) -> None:
    """Write JSON with sorted keys under a temporary name, then rename it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n")
    os.replace(partial, path)


def write_sidecar(image_path, *, step: str, description: str, sources=(), settings=None, units=None, **fields) -> Path:
    """Write the sidecar of a result.

    Args:
        image_path: the image or table that the sidecar describes.
        step: name of the rule that made it.
        description: one sentence on what the values are.
        sources: input files.
        settings: the parameters that were used.
        units: unit of the values (BIDS ``Units``).
        fields: further BIDS metadata.

    Returns:
        The path of the sidecar.
    """
    content = {
        "Description": description,
        "Sources": [str(source) for source in sources],
        "GeneratedBy": {"Name": "scan2map", "Step": step, "StepVersion": step_version(step), "Commit": commit()},
        "SoftwareVersions": software_versions(),
        "Settings": settings or {},
        **fields,
    }
    if units is not None:
        content["Units"] = units
    path = sidecar_path(image_path)
    write_json(path, content)
    return path
