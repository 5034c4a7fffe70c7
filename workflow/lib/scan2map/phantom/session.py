"""One session of one subject: every series that the protocol asks for, and what is true about them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from scan2map.phantom.acquisition import anat, asl, bssfp, ctmr, dwi
from scan2map.phantom.acquisition.scan import Scan, Scanner, TruthImage
from scan2map.phantom.series import Series
from scan2map.phantom.subject import DigitalSubject

LOGGER = logging.getLogger("scan2map")
ACQUISITIONS = {
    "anat": anat.acquire,
    "dwi": dwi.acquire,
    "bssfp": bssfp.acquire,
    "asl": asl.acquire,
    "ctmr": ctmr.acquire,
}
DISTURBANCES = ("motion", "susceptibility", "eddy", "dropout", "noise", "receive_field_strength")


@dataclass(frozen=True)
class SessionTruth:
    """What is true about a session.

    Attributes:
        images: maps on the acquisition grids.
        motion: one row per diffusion volume, head position relative to the first (mm, rad).
        parameters: disturbances, seed, pose and the record of every series.
    """

    images: list[TruthImage]
    motion: list[dict]
    parameters: dict


def simulate_session(
    subject: DigitalSubject, pose: np.ndarray, settings: dict, seed: int
) -> tuple[list[Series], SessionTruth]:
    """Scan a digital subject.

    Args:
        subject: the head.
        pose: 4x4 rigid transform from the head as built to the head as it lies in this session (RAS mm).
        settings: the ``phantom`` configuration block.
        seed: of this session; the same arguments give the same series.

    Returns:
        The series in the order of their numbers, and the truth.
    """
    scanner = Scanner(subject, pose, settings, seed)
    scans: list[Scan] = []
    for modality in settings["modalities"]:
        scans.append(ACQUISITIONS[modality](scanner))
        LOGGER.info("acquired %s: %s", modality, ", ".join(one.description for one in scans[-1].series))
    series = sorted((one for scan in scans for one in scan.series), key=lambda one: one.number)
    parameters = {
        "seed": seed,
        "head_as_built_to_session": np.asarray(pose).tolist(),
        "disturbances": {name: settings[name] for name in DISTURBANCES},
        "lesion": None if subject.lesion is None else vars(subject.lesion),
        "series": {name: record for scan in scans for name, record in scan.parameters.items()},
    }
    return series, SessionTruth(
        [image for scan in scans for image in scan.images], [row for scan in scans for row in scan.motion], parameters
    )
