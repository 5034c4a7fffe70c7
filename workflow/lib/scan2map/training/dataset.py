"""One file per subject of a data set: named arrays in safetensors (whole or not at all, the same bytes every time)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scan2map.errors import DataError


def save_subject(path, arrays: Mapping[str, np.ndarray], **facts: Any) -> None:
    """Write the arrays of one subject.

    Args:
        path: the ``.safetensors`` file.
        arrays: by name.
        facts: anything that JSON can hold (voxel size, seeds, units).
    """
    from safetensors.numpy import save

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    partial = path.with_name(f".partial-{path.name}")
    partial.write_bytes(save(contiguous, metadata={"facts": json.dumps(facts, sort_keys=True)}))
    os.replace(partial, path)


def load_subject(path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of one subject and its facts.

    Raises:
        DataError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dictionary)
            return arrays, json.loads((handle.metadata() or {}).get("facts", "{}"))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"The data set of a subject cannot be read ({error})", file=path, remedy="delete it and run again"
        ) from error


def files_hash(paths: Iterable) -> str:
    """SHA-256 over names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
