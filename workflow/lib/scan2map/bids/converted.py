"""Did the conversion give what the DICOM headers promised? Counted image by image, because BIDScoin does not say."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import nibabel as nib

from scan2map.bids.dicom_series import DicomSeries
from scan2map.bids.names import parse_name
from scan2map.bids.staging import SeriesPlan

# Entities in which the images of one series may differ; any other difference means that dcm2niix had to split it.
SPLITTING_ENTITIES = {"echo", "part", "inv", "flip"}


def read_provenance(bids: Path) -> dict[str, list[str]]:
    """Staged folder name → names of the images that BIDScoin says it made of it."""
    table = bids / "code" / "bidscoin" / "bidscoiner.tsv"
    if not table.is_file():
        return {}
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return {Path(row["source"]).name: [name for name in (row["targets"] or "").split(", ") if name] for row in rows}


def _without_first_run(name: str) -> tuple:
    entities, suffix, _ = parse_name(name)
    return suffix, tuple(item for item in sorted(entities.items()) if item != ("run", "1"))


def assign_images(plans: list[SeriesPlan], session_folder: Path, provenance: dict[str, list[str]]) -> list[Path]:
    """Give every series its images; BIDScoin's later renaming of a first image to ``run-1`` is followed.

    Returns:
        Images that belong to no series.
    """
    on_disk = defaultdict(list)
    for path in sorted(session_folder.rglob("*.nii*")):
        on_disk[_without_first_run(path.name)].append(path)
    for plan in plans:
        names = [_without_first_run(name) for name in provenance.get(plan.folder_name, [])]
        plan.images = [path for name in names for path in on_disk.pop(name, [])]
    return [path for paths in on_disk.values() for path in paths]


def _is_split(images: list[Path]) -> bool:
    parsed = [parse_name(image.name) for image in images]
    kept = {tuple(item for item in sorted(p[0].items()) if item[0] not in SPLITTING_ENTITIES) for p in parsed}
    return len(kept) > 1


def _shape_problem(series: DicomSeries, images: list[Path]) -> str | None:
    shapes = [tuple(nib.load(image).shape) for image in images]
    volumes = sum(shape[3] if len(shape) > 3 else 1 for shape in shapes)
    if series.volumes is not None and volumes != series.volumes:
        return f"the conversion gave {volumes} volumes, the DICOM series holds {series.volumes}"
    if series.slices is None or series.is_mosaic:
        return None
    expected = sorted([int(series.header.Rows), int(series.header.Columns), series.slices])
    wrong = [shape for shape in shapes if sorted(shape[:3]) != expected]
    if wrong:
        return f"the conversion gave an image of {wrong[0][:3]} voxels, the DICOM series holds {tuple(expected)}"
    return None


def _sidecar_problem(images: list[Path]) -> str | None:
    missing = [image.name for image in images if not image.with_suffix("").with_suffix(".json").is_file()]
    return f"the conversion gave no sidecar for {missing[0]}" if missing else None


def find_conversion_problem(series: DicomSeries, images: list[Path]) -> str | None:
    """What is wrong with the images of a series, in one plain phrase; ``None`` if they are complete."""
    if not images:
        return "the conversion gave no image (the log tells what the converter said)"
    if _is_split(images):
        return f"the conversion split it into {len(images)} images: its slices do not fit together"
    return _sidecar_problem(images) or _shape_problem(series, images)


def remove_image(image: Path) -> None:
    """Remove an image and the files that belong to it."""
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    for path in image.parent.glob(f"{stem}.*"):
        path.unlink()
