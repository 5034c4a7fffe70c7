"""Which code made a model: a hash over the sources that decide its weights."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
SHARED = ("training", "models", "physics", "phantom/slices")


@cache
def source_hash(system: str) -> str:
    """SHA-256 over the Python files of a system and of the rooms that it shares with others."""
    folders = [LIBRARY / "systems" / system, *(LIBRARY / room for room in SHARED)]
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(str(path.relative_to(LIBRARY)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
