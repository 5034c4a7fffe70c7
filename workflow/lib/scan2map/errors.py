"""The two kinds of trouble a user can mend, each with a message that says how."""

from __future__ import annotations

from pathlib import Path


def _sentence(problem: str, file, found, allowed, remedy) -> str:
    parts = [problem.rstrip(".")]
    if file is not None:
        parts.append(f"file: {Path(file)}")
    if found is not None:
        parts.append(f"found: {found}")
    if allowed is not None:
        parts.append(f"allowed: {allowed}")
    if remedy is not None:
        parts.append(f"what to do: {remedy}")
    return "; ".join(parts)


class Scan2mapError(ValueError):
    """A problem that names what is wrong, where, what is allowed and what to do.

    Args:
        problem: one plain sentence.
        file: the file that it concerns (name only files inside the study).
        found: the offending value, with its unit.
        allowed: the allowed range or set, with its unit.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, *, file=None, found=None, allowed=None, remedy=None):
        super().__init__(_sentence(problem, file, found, allowed, remedy))
        self.problem = problem
        self.without_file = _sentence(problem, None, found, allowed, remedy)


class DataError(Scan2mapError):
    """The data of one session cannot be used; other sessions go on."""


class SettingError(Scan2mapError):
    """A setting or table is wrong; nothing starts until it is mended."""


class ToolError(Scan2mapError):
    """An external program is missing, too old, or failed."""
