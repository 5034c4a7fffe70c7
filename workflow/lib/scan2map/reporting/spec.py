"""The report specification: which figures a page has, in which order, from which files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import yaml

from scan2map.errors import SettingError

FIGURE_PACKAGE = "scan2map.reporting.figures"


@dataclass(frozen=True)
class FileSpec:
    """A file by its BIDS parts, or an image of the scanner by its role, and what must run for it to exist.

    Attributes:
        needs: modalities, or learned systems.
        datatype, suffix, extension, entities: of a derivative.
        role: of an image of the BIDS data set.
    """

    needs: tuple[str, ...]
    datatype: str = ""
    suffix: str = ""
    extension: str = ".nii.gz"
    entities: Mapping[str, str] = field(default_factory=dict)
    role: str = ""


@dataclass(frozen=True)
class FigureSpec:
    """One figure: the function ``<module>.<name>`` of ``reporting/figures`` that draws it, and its words."""

    id: str
    title: str
    function: str
    inputs: Mapping[str, str]
    alt: str
    caption: str
    judge: str = ""
    modality: str = ""
    options: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class ViewerSpec:
    """One slice viewer: files by name, and the layers that it offers."""

    id: str
    title: str
    inputs: Mapping[str, str]
    layers: tuple[Mapping, ...]


@dataclass(frozen=True)
class SectionSpec:
    """One section of the page."""

    id: str
    title: str
    introduction: str
    figures: tuple[FigureSpec, ...]
    modality: str = ""
    viewer: ViewerSpec | None = None


@dataclass(frozen=True)
class PageSpec:
    """A whole page."""

    files: Mapping[str, FileSpec]
    sections: tuple[SectionSpec, ...]
    expectations: tuple[Mapping, ...]


def _file(entry: Mapping) -> FileSpec:
    entry = dict(entry)
    needs = tuple(entry.pop("needs"))
    if "role" in entry:
        return FileSpec(needs, role=entry["role"])
    known = (entry.pop("datatype"), entry.pop("suffix"), entry.pop("extension", ".nii.gz"))
    return FileSpec(needs, *known, entities=entry)


def _section(entry: Mapping) -> SectionSpec:
    entry = dict(entry)
    figures = tuple(FigureSpec(**figure) for figure in entry.pop("figures"))
    viewer = entry.pop("viewer", None)
    return SectionSpec(**entry, figures=figures, viewer=ViewerSpec(**viewer) if viewer else None)


def load_spec(path) -> PageSpec:
    """Read a report specification.

    Raises:
        SettingError: an unknown key, a missing one, a figure function or a file that does not exist.
    """
    content = yaml.safe_load(Path(path).read_text())
    try:
        spec = PageSpec(
            files={name: _file(entry) for name, entry in content.pop("files").items()},
            sections=tuple(_section(entry) for entry in content.pop("sections")),
            expectations=tuple(content.pop("expectations")),
        )
    except (KeyError, TypeError) as error:
        raise SettingError(f"The report specification is not valid ({error})", file=path) from error
    _check(spec, content, path)
    return spec


def _check(spec: PageSpec, surplus: Mapping, path) -> None:
    used = [name for section in spec.sections for part in parts(section) for name in part.inputs.values()]
    unknown = sorted(set(used) - set(spec.files)) + sorted(surplus)
    if unknown:
        allowed = ", ".join(spec.files)
        raise SettingError("The report specification names unknown files", file=path, found=unknown, allowed=allowed)


def parts(section: SectionSpec) -> tuple[FigureSpec | ViewerSpec, ...]:
    """Figures and viewer of a section."""
    return section.figures + ((section.viewer,) if section.viewer else ())


def figure_function(name: str) -> Callable:
    """The function that draws a figure.

    Args:
        name: ``<module>.<function>`` inside ``scan2map.reporting.figures``.

    Raises:
        SettingError: there is none.
    """
    module, _, function = name.partition(".")
    try:
        return getattr(import_module(f"{FIGURE_PACKAGE}.{module}"), function)
    except (ImportError, AttributeError) as error:
        raise SettingError(
            f"There is no figure function {name!r}", remedy="correct the report specification"
        ) from error


def page_files(
    spec: PageSpec, derivative: Callable[..., str], runs: Callable[[str], bool], images: Callable[[str], list[str]]
) -> dict[str, str]:
    """The files of a session's page that exist, by name.

    Args:
        spec: the page.
        derivative: the workflow's function from entities to a path.
        runs: whether the session runs a modality, or a learned system predicts for it.
        images: the session's images of a role; the first is shown.
    """
    wanted = {name: file for name, file in spec.files.items() if all(runs(part) for part in file.needs)}
    derived = {
        name: derivative(file.datatype, file.suffix, file.extension, **file.entities)
        for name, file in wanted.items()
        if not file.role
    }
    converted = {name: images(file.role) for name, file in wanted.items() if file.role}
    return derived | {name: paths[0] for name, paths in converted.items() if paths}
