"""Reading a BIDS data set through pybids: indexed once, the index kept, everything else read from our own table."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scan2map.bids.dataset import EXPERT
from scan2map.bids.names import parse_name
from scan2map.bids.roles import role_of
from scan2map.errors import SettingError

LOGGER = logging.getLogger("scan2map")
IMAGES = [".nii", ".nii.gz"]


@dataclass(frozen=True)
class BidsFile:
    """One image that a step can read.

    Attributes:
        subject: label.
        session: label; empty in a data set without sessions.
        role: what the image is for, see :mod:`scan2map.bids.roles`.
        path: where it is, below the data set's folder as the user gave it.
        metadata: its sidecar, with what it inherits.
        tables: files that belong to it: ``bval``, ``bvec``.
    """

    subject: str
    session: str
    role: str
    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Path] = field(default_factory=dict)

    @property
    def series_number(self) -> int:
        """DICOM series number; 0 where the sidecar has none."""
        return int(self.metadata.get("SeriesNumber") or 0)


def _index(root: Path, index_folder: Path):
    """Index a data set; its own derivatives are left alone, except for expert masks."""
    from bids import BIDSLayout, BIDSLayoutIndexer

    shutil.rmtree(index_folder, ignore_errors=True)
    indexer = BIDSLayoutIndexer(validate=False, ignore=["derivatives", "sourcedata", "code", ".git"])
    expert = root / EXPERT
    masks = str(expert) if (expert / "dataset_description.json").is_file() else False
    try:
        return BIDSLayout(
            str(root), validate=False, indexer=indexer, derivatives=masks, database_path=str(index_folder)
        )
    except Exception as error:  # pybids raises a dozen types for a broken sidecar, description or table
        raise SettingError(
            "The BIDS data set cannot be indexed", file=root, found=str(error), remedy="run the BIDS validator on it"
        ) from error


def _table(find, path: str) -> Path | None:
    try:
        return Path(find(path))
    except (IndexError, TypeError):  # how pybids says that there is none
        return None


def _tables(layout, path: str, role: str) -> dict[str, Path]:
    if role != "dwi":
        return {}
    found = {"bval": _table(layout.get_bval, path), "bvec": _table(layout.get_bvec, path)}
    return {kind: table for kind, table in found.items() if table}


def _bids_file(layout, entry, root: Path) -> BidsFile | None:
    try:
        entities, suffix, _ = parse_name(entry.filename)
    except ValueError:
        LOGGER.warning("not a BIDS name, left alone: %s", entry.filename)
        return None
    metadata = dict(entry.get_metadata())
    role = role_of(entities, suffix, metadata)
    if role is None or "sub" not in entities:
        return None
    path = root / os.path.relpath(entry.path, layout.root)
    tables = _tables(layout, entry.path, role)
    return BidsFile(entities["sub"], entities.get("ses", ""), role, path, metadata, tables)


def read_layout(root, index_folder) -> list[BidsFile]:
    """All images of a BIDS data set that a step can read, ordered by subject, session, role and acquisition.

    Args:
        root: the data set; it is only read.
        index_folder: where pybids keeps its index; an old index there is replaced.

    Raises:
        SettingError: the folder is missing, or pybids cannot index it.
    """
    root, index_folder = Path(root), Path(index_folder)
    if not root.is_dir():
        raise SettingError("The BIDS data set does not exist", file=root, remedy="correct input.bids_dir")
    layout = _index(root, index_folder)
    found = [_bids_file(layout, entry, root) for entry in layout.get(extension=IMAGES, scope="all")]
    return _ordered(file for file in found if file is not None)


def _ordered(files: Iterable[BidsFile]) -> list[BidsFile]:
    return sorted(files, key=lambda file: (file.subject, file.session, file.role, file.series_number, str(file.path)))
