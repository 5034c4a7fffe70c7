"""Build the data set of one subject, from its files or by simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scan2map.systems import load_system
from scan2map.training.dataset import load_subject


def build_subject(
    system: str, subject: str, files: Sequence[str], sessions: Sequence[str], settings: Mapping[str, Any], out
) -> None:
    """Write the data set of one subject.

    Args:
        system: name.
        subject: label.
        files: session after session, in the order of the system's ``sources``; empty for a phantom cohort.
        sessions: labels of the sessions.
        settings: what decides the data set.
        out: the ``.safetensors`` file.
    """
    found = load_system(system)
    names = list(found.description.sources)
    paths = iter(map(Path, files))
    sources = {session: {name: next(paths) for name in names} for session in sessions}
    found.build_dataset(subject, sources, settings, Path(out))
    load_subject(out)
