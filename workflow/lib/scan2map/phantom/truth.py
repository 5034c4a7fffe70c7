"""The ground truth of simulated sessions as a BIDS derivative data set of its own."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from scan2map.bids.names import bids_path
from scan2map.images import save_image
from scan2map.phantom.acquisition.dwi import MOTION_COLUMNS
from scan2map.phantom.session import SessionTruth
from scan2map.phantom.truth_names import parameters_path
from scan2map.provenance import write_json, write_sidecar

STEP = "simulate_session"
MOTION_DESCRIPTION = (
    "Head position of every volume relative to the first one: translation of the middle of the field of view (mm) and "
    "xyz Euler angles about it (rad), world RAS axes"
)


def _write_motion(path: Path, rows: list[dict]) -> None:
    partial = path.with_name(f".partial-{path.name}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, ["series", "volume", *MOTION_COLUMNS], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    os.replace(partial, path)
    columns = {name: {"Units": "mm" if name.startswith("trans") else "rad"} for name in MOTION_COLUMNS}
    write_sidecar(path, step=STEP, description=MOTION_DESCRIPTION, **columns)


def write_truth(truth: SessionTruth, root, subject: str, session: str, settings: dict) -> None:
    """Write the maps with their sidecars, the head motion and the record of the session.

    Args:
        truth: from :func:`scan2map.phantom.session.simulate_session`.
        root: folder of the data set.
        subject: label.
        session: label.
        settings: the ``phantom`` block, for the record.
    """
    root = Path(root)
    for image in truth.images:
        path = root / bids_path(image.datatype, image.suffix, sub=subject, ses=session, **image.entities)
        save_image(path, image.data, image.affine)
        write_sidecar(path, step=STEP, description=image.description, units=image.units, Simulated=True)
    if truth.motion:
        path = root / bids_path("dwi", "timeseries", ".tsv", sub=subject, ses=session, desc="motion")
        _write_motion(path, truth.motion)
    write_json(root / parameters_path(subject, session), truth.parameters | {"settings": settings})
