"""Where a study's native atlases lie. Read while Snakemake parses the rules: nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def native_atlas_path(template: str, subject: str, session: str) -> Path:
    """The label image of one session.

    Args:
        template: setting ``anat.native_atlases``, with ``{subject}`` and perhaps ``{session}``.
        subject, session: labels.
    """
    return Path(template.replace("{subject}", subject).replace("{session}", session)).expanduser()


def session_atlases(templates: Mapping[str, str], subject: str, session: str) -> tuple[str, ...]:
    """The native atlases that a session has."""
    return tuple(name for name, path in templates.items() if native_atlas_path(path, subject, session).is_file())


def missing_native_atlases(templates: Mapping[str, str], scans: Iterable[tuple[str, str]]) -> list[str]:
    """One sentence for each label image that does not exist."""
    wanted = [(name, scan, native_atlas_path(path, *scan)) for scan in scans for name, path in templates.items()]
    return [
        f"sub-{subject} ses-{session}: the atlas {name} has no file {path}; the session would have no such regions"
        for name, (subject, session), path in wanted
        if not path.is_file()
    ]
