"""The tables of a study that a reader may take away, each with what its columns mean."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from scan2map.provenance import sidecar_path
from scan2map.reporting.page import REPORT_FOLDER


@dataclass(frozen=True)
class Download:
    """A file beside the page: where, what it holds, its data dictionary (a file, if it has one) and its columns."""

    href: str
    words: str
    dictionary: str = ""
    columns: tuple[tuple[str, str], ...] = ()


# What lies beside the page in every study, and what it holds; written by rules that need not have run before the page.
DOWNLOADS = {
    "../inventory.tsv": "which session runs which modality, and why not",
    "../series.tsv": "every series of every export, and what became of it",
    "group.tsv": "the numbers of this page that are computed over sessions",
    "../evaluation/rois.tsv": "every map in every region, with coverage",
    "../evaluation/quality_dwi.tsv": "quality of every diffusion scan",
    "../evaluation/quality_asl.tsv": "quality of every perfusion scan",
    "../bids_validation.tsv": "what the BIDS validator says",
    "resources.tsv": "time and memory of every step; also as a page: resources.html",
    "resources.html": "time, memory and disk of every step",
    "../ro-crate-metadata.json": "the run as an RO-Crate: each file, the step that made it, its inputs and settings",
}


def downloads(page, *, targets: bool) -> list[Download]:
    """The files beside a page with their data dictionaries.

    Args:
        page: the page that links them.
        targets: whether the study was held against targets.
    """
    words = DOWNLOADS | ({"../validation/rail.tsv": "this study against the project's targets"} if targets else {})
    known = yaml.safe_load((REPORT_FOLDER / "columns.yaml").read_text())
    return [_download(href, text, Path(page).parent, known) for href, text in words.items()]


def _download(href: str, words: str, folder: Path, known: dict) -> Download:
    sidecar = Path(os.path.normpath(sidecar_path(folder / href)))
    if not href.endswith(".tsv"):
        return Download(href, words)
    if not sidecar.is_file():
        return Download(href, words, columns=tuple(known.get(href.removeprefix("../"), {}).items()))
    content = json.loads(sidecar.read_text())
    columns = tuple(
        (name, _words(entry)) for name, entry in content.items() if isinstance(entry, dict) and _words(entry)
    )
    return Download(href, words, Path(os.path.relpath(sidecar, folder)).as_posix(), columns)


def _words(entry: dict) -> str:
    unit = entry.get("Units", "")
    return entry.get("Description", "") + (f" ({unit})" if unit and "Description" in entry else "")
