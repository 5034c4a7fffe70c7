"""Putting a converted session in place: anonymised, compressed, and all at once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scan2map.bids import anonymise, sidecars
from scan2map.bids.dataset import EXPERT
from scan2map.bids.staging import SeriesPlan
from scan2map.errors import DataError, ToolError

LOGGER = logging.getLogger("scan2map")
RETRIES = 10


@dataclass(frozen=True)
class Conversion:
    """One session to convert.

    Attributes:
        source: folder with its DICOM files.
        subject, session: labels.
        bids: root of the BIDS data set.
        remove_metadata: sidecar keys to remove.
    """

    source: Path
    subject: str
    session: str
    bids: Path
    remove_metadata: tuple[str, ...] = ()

    @property
    def relative(self) -> Path:
        """The session's folder below the root."""
        return Path(f"sub-{self.subject}", f"ses-{self.session}")


def _make_scratch(root: Path, prefix: str) -> Path:
    """A private folder; another session that ends just now may remove the empty root, hence the second try."""
    for _ in range(RETRIES):
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=root.resolve()))
    raise ToolError("The folder for temporary files cannot be made", file=root)


@contextlib.contextmanager
def scratch_folder(root: Path, prefix: str) -> Iterator[Path]:
    """A private folder that is gone afterwards, whatever happens."""
    scratch = _make_scratch(root, prefix)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # another session is still at work there
            root.rmdir()


def anonymise_session(
    job: Conversion, plans: list[SeriesPlan], folder: Path, identifiers: anonymise.Identifiers
) -> None:
    """Clean sidecars, blank and compress images, drop the scanner's clock times.

    Raises:
        DataError: an identifier of the patient is still there.
    """
    for table in folder.glob("*_scans.tsv"):
        table.unlink()
    for plan in (plan for plan in plans if plan.is_used):
        plan.images = [_publish_image(image, job, identifiers) for image in plan.images]
    left = anonymise.files_naming_patient(folder, identifiers)
    if left:
        raise DataError(
            "The patient's name, ID or birth date is still in the converted files",
            found=", ".join(path.suffix for path in left[:3]) + f" ({len(left)} files)",
            remedy="add the sidecar key that holds it to input.remove_metadata",
        )


def _publish_image(image: Path, job: Conversion, identifiers: anonymise.Identifiers) -> Path:
    anonymise.anonymise_sidecar(sidecars.sidecar_of(image), job.remove_metadata, identifiers)
    if image.name.endswith(".nii.gz"):
        return image
    target = image.with_name(image.name + ".gz")
    anonymise.compress_image(image, target)
    image.unlink()
    return target


def _separate_masks(job: Conversion, plans: list[SeriesPlan], scratch: Path) -> None:
    """Move expert masks out of the raw data."""
    for plan in (plan for plan in plans if plan.is_used and plan.entry.suffix == "mask"):
        plan.images = [_move_image(image, scratch / "masks" / job.relative / "anat") for image in plan.images]


def _move_image(image: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    for path in list(image.parent.glob(f"{stem}.*")):
        path.rename(folder / path.name)
    return folder / image.name


def _replace_folder(new: Path, target: Path, scratch: Path) -> None:
    """Put a finished folder in place of an old one; without a new one, the old one goes."""
    if target.exists():
        target.rename(Path(tempfile.mkdtemp(dir=scratch)) / "old")
    if new.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(new, target)


def publish(job: Conversion, plans: list[SeriesPlan], folder: Path, scratch: Path) -> None:
    """Move a finished session into the data set, in place of an earlier conversion; expert masks go apart."""
    _separate_masks(job, plans, scratch)
    for empty in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(empty.iterdir()):
            empty.rmdir()
    _replace_folder(folder, job.bids / job.relative, scratch)
    _replace_folder(scratch / "masks" / job.relative, job.bids / EXPERT / job.relative, scratch)
    for plan in (plan for plan in plans if plan.is_used):
        LOGGER.info("series %d became %s", plan.series.number, ", ".join(path.name for path in plan.images))


def discard(job: Conversion, scratch: Path) -> None:
    """A session that failed leaves nothing of an earlier conversion behind."""
    for root in (job.bids, job.bids / EXPERT):
        _replace_folder(scratch / "nothing", root / job.relative, scratch)
