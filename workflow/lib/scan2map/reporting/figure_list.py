"""Which figures and tables `snakemake figures` makes, what each one answers, and why the others are not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from scan2map.errors import SettingError

FOLDER = "<results>/figures"


@dataclass(frozen=True)
class Entry:
    """One figure or table.

    Attributes:
        id: its name.
        system: the learned system that it is about.
        files: its files below the folder of figures, without the ending.
        title, caption: what it shows.
        answers: the figure, table or claim of the system's document that it answers.
        picture: whether there is one; its numbers there are always.
        table: whether the numbers are a table to print.
    """

    id: str
    system: str
    files: str
    title: str
    answers: str
    caption: str
    picture: bool = True
    table: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of its files."""
        return (".svg", ".png", ".tsv") if self.picture else (".tsv",)


@dataclass(frozen=True)
class FigureList:
    """All figures, and the documents that the systems follow."""

    documents: Mapping[str, str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Absent:
    """What is not made, and why."""

    system: str
    title: str
    reason: str


def load_figures(path) -> FigureList:
    """Read the list.

    Raises:
        SettingError: an unknown or missing key, a system without document, an id or file that is there twice.
    """
    content = yaml.safe_load(Path(path).read_text())
    try:
        found = FigureList(content["documents"], tuple(Entry(**entry) for entry in content["figures"]))
    except (KeyError, TypeError) as error:
        raise SettingError(f"The list of figures is not valid ({error})", file=path) from error
    unknown = {entry.system for entry in found.entries} - set(found.documents)
    twice = {key for key in _keys(found.entries) if _keys(found.entries).count(key) > 1}
    if unknown | twice:
        problem = "The list of figures names a system without document, or something twice"
        raise SettingError(problem, file=path, found=sorted(unknown | twice))
    return found


def _keys(entries: Sequence[Entry]) -> list[str]:
    return [key for entry in entries for key in (entry.id, f"{entry.files}.*")]


def published_tables(folder) -> dict[str, str]:
    """The validation tables that ship with the project, by path, with a digest that tells when one has changed."""
    paths = sorted(Path(folder).glob("*.tsv"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in paths}


def made(figures: FigureList, systems: Iterable[str]) -> list[Entry]:
    """The figures of the systems of a study."""
    systems = set(systems)
    return [entry for entry in figures.entries if entry.system in systems]


def figure_files(figures: FigureList, systems: Iterable[str]) -> list[str]:
    """The files of those figures."""
    return [f"{FOLDER}/{entry.files}{suffix}" for entry in made(figures, systems) for suffix in entry.suffixes]


def absent(figures: FigureList, systems: Sequence[str]) -> list[Absent]:
    """The figures that a study does not make, with the reason."""
    outside = "the system is not part of this study: add it to learning.systems"
    missing = [Absent(entry.system, entry.title, outside) for entry in figures.entries if entry.system not in systems]
    known = {entry.system for entry in figures.entries}
    nothing = "the project draws no figure of this system yet; its validation table, if there is one, is below"
    others = [system for system in dict.fromkeys([*systems, *figures.documents]) if system not in known]
    return missing + [Absent(system, "all", nothing) for system in others]
