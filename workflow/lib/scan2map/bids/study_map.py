"""The study map: BIDScoin's YAML file, read with BIDScoin's rules of matching, for what BIDScoin does not report.

BIDScoin converts; this module tells beforehand which entry a series will meet, so that series which no entry wants are
listed with a reason, and gives the metadata of that entry, so that what BIDScoin drops can be restored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydicom.dataset import Dataset

from scan2map.errors import SettingError

LEFT_OUT = "exclude"
PRIVATE_PREFIX = "_"  # metadata keys of ours: read here, removed from the sidecars


@dataclass(frozen=True)
class MapEntry:
    """One entry of the study map.

    Attributes:
        datatype: BIDS folder, or ``exclude``.
        suffix: last part of the BIDS name.
        attributes: DICOM attribute → regular expression that its whole value must match.
        meta: BIDS metadata that the study adds.
    """

    datatype: str
    suffix: str
    attributes: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def is_left_out(self) -> bool:
        """Whether the study does not want such series."""
        return self.datatype == LEFT_OUT

    @property
    def reason(self) -> str:
        """Why such series are left out."""
        return str(self.meta.get("_reason") or "left out by the study map")


def attribute_text(header: Dataset, name: str) -> str:
    """The value of a DICOM attribute as BIDScoin sees it: by keyword or ``(gggg,eeee)``, nested if need be, as text."""
    if not name.startswith("(") and name in header:
        return str(header[name].value if header[name].value is not None else "")
    for element in header.iterall():
        if name in (element.keyword, str(element.tag)):
            return str(element.value)
    return ""


def _matches(entry: MapEntry, header: Dataset) -> bool:
    wanted = {name: pattern for name, pattern in entry.attributes.items() if pattern}
    return bool(wanted) and all(
        re.fullmatch(str(pattern).strip(), attribute_text(header, name).strip()) for name, pattern in wanted.items()
    )


def _search_order(datatypes: list[str]) -> list[str]:
    """BIDScoin's order: what is left out, then fmap, then the rest as written."""
    return sorted(datatypes, key=lambda datatype: (datatype != LEFT_OUT, datatype != "fmap"))


def _entries(dicom: dict) -> list[MapEntry]:
    datatypes = [name for name in dicom if name != "participant"]
    return [
        MapEntry(
            name, (item.get("bids") or {}).get("suffix") or "", item.get("attributes") or {}, item.get("meta") or {}
        )
        for name in _search_order(datatypes)
        for item in dicom[name] or []
    ]


@dataclass(frozen=True)
class StudyMap:
    """A study map: its file, its entries in the order in which they are tried, and what the BIDS validator skips."""

    path: Path
    entries: tuple[MapEntry, ...]
    bidsignore: tuple[str, ...] = ()

    def match(self, header: Dataset) -> MapEntry | None:
        """The entry that a series with this header meets first; ``None`` for an unknown series."""
        return next((entry for entry in self.entries if _matches(entry, header)), None)


def _check_patterns(path: Path, entries: list[MapEntry]) -> None:
    for entry in entries:
        for name, pattern in entry.attributes.items():
            try:
                re.compile(str(pattern))
            except re.error as error:
                problem = f"The study map has an invalid regular expression for {name} under {entry.datatype}"
                raise SettingError(problem, file=path, found=pattern, remedy=str(error)) from error


def read_study_map(path) -> StudyMap:
    """Read a study map.

    Raises:
        SettingError: the file is missing, is no YAML, has no DICOM section, or an invalid regular expression.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError("The study map is missing", file=path, remedy="create it, or correct input.bidsmap")
    try:
        content = yaml.safe_load(path.read_text())
        dicom = content["DICOM"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SettingError(
            "The study map cannot be read",
            file=path,
            found=str(error),
            allowed="a BIDScoin bidsmap with a DICOM section",
        ) from error
    entries = _entries(dicom)
    _check_patterns(path, entries)
    options = ((content.get("Options") or {}).get("bidscoin")) or {}
    return StudyMap(path, tuple(entries), tuple(options.get("bidsignore") or ()))
