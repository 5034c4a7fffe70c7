"""Which sessions are converted, and from where: what the workflow must know before any job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scan2map.errors import SettingError
from scan2map.tables import dicom_folder, read_exclusions

Pair = tuple[str, str]


def data_set_pairs(bids_dir) -> list[Pair]:
    """The sessions of an existing BIDS data set, by its folders; session ``01`` where it has no session level."""
    pairs = []
    for subject in sorted(Path(bids_dir).glob("sub-*/")):
        sessions = sorted(folder.name.removeprefix("ses-") for folder in subject.glob("ses-*/")) or ["01"]
        pairs += [(subject.name.removeprefix("sub-"), session) for session in sessions]
    return pairs


class Intake:
    """The sessions of the table of subjects, and how each comes in.

    Args:
        settings: the configuration block ``input``.
        rows: the table of subjects; empty for an existing BIDS data set means everybody in it.

    Raises:
        SettingError: the exclusions name an unknown session, a DICOM folder is not given, or ``bids_dir`` is missing.
    """

    def __init__(self, settings: dict[str, Any], rows: list[dict[str, Any]]):
        self.settings = settings
        self.pairs: list[Pair] = [(row["subject"], row["session"]) for row in rows]
        if settings["kind"] == "bids" and not settings["bids_dir"]:
            raise SettingError("input.bids_dir is empty", allowed="the folder of a BIDS data set", remedy="set it")
        if settings["kind"] == "bids" and not rows:
            self.pairs = data_set_pairs(settings["bids_dir"])
        self._excluded = read_exclusions(settings["exclusions"], self.pairs)
        self._folders: dict[Pair, Path] = {}
        if settings["kind"] == "dicom":
            table = settings["participants"]
            wanted = set(self.converted())
            named = ((row["subject"], row["session"]) for row in rows)
            self._folders = {p: dicom_folder(row, table) for p, row in zip(named, rows, strict=True) if p in wanted}
        if settings["kind"] == "bids" and not settings["bids_dir"]:
            raise SettingError("input.bids_dir is empty", allowed="the folder of a BIDS data set", remedy="set it")

    def converted(self) -> list[Pair]:
        """The sessions to convert from DICOM: none of an existing BIDS data set, none that is excluded as a whole."""
        if self.settings["kind"] == "bids":
            return []
        return [pair for pair in self.pairs if (*pair, "all") not in self._excluded]

    def folder(self, wildcards) -> Path:
        """The DICOM folder of a session."""
        return self._folders[wildcards.subject, wildcards.session]

    def existing_folder(self, wildcards) -> list[str]:
        """The DICOM folder as a job's input; none if it does not exist, so that the other sessions still run."""
        folder = self.folder(wildcards)
        return [str(folder)] if folder.is_dir() else []

    def tables(self) -> list[str]:
        """The files besides the sessions' records on which the inventory depends."""
        if self.settings["kind"] == "bids":
            files = [f"{self.settings['bids_dir']}/dataset_description.json", self.settings["exclusions"]]
        else:
            files = [self.settings["bidsmap"], self.settings["exclusions"]]
        return [file for file in files if file]
