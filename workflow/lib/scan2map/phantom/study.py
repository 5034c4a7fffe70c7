"""One session of the phantom study, from labels and settings to DICOM and ground truth on disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from scan2map.errors import SettingError
from scan2map.phantom.scanner import Patient, write_session
from scan2map.phantom.series import Series
from scan2map.phantom.session import simulate_session
from scan2map.phantom.subject import build_subject, pose, random_generator
from scan2map.phantom.truth import write_truth


def session_seed(subject: str, session: str, seed: int) -> int:
    """Seed of a session: motion, noise and coils differ between sessions, the head does not."""
    return int(random_generator(seed, subject, session, "session").integers(2**31))


def acquired(series: list[Series], subject: str, omit: list[dict]) -> list[Series]:
    """The series of a session without those that the protocol omits for its subject.

    Raises:
        SettingError: the protocol omits a series that it does not hold.
    """
    missing = {entry["series"] for entry in omit if entry["subject"] == subject}
    known = [one.description for one in series]
    unknown = sorted(missing - set(known))
    if unknown:
        raise SettingError(f"phantom.omit names an unknown series {unknown[0]!r}", allowed=", ".join(known))
    return [one for one in series if one.description not in missing]


def simulate_files(
    subject: str, session: str, dicom, truth_root, *, head: dict, protocol: dict, seed: int, threads: int = 1
) -> None:
    """Build the subject, scan the session, write the DICOM folder (whole or not at all) and the truth.

    Args:
        subject: label.
        session: label.
        dicom: folder of the session, one folder per series inside.
        truth_root: folder of the ground-truth data set.
        head: the ``phantom_subject`` block.
        protocol: the ``phantom`` block.
        seed: of the study.
        threads: of torch.
    """
    import torch

    torch.set_num_threads(threads)
    series, truth = simulate_session(
        build_subject(subject, head, seed), pose(subject, session, seed), protocol, session_seed(subject, session, seed)
    )
    write_truth(truth, truth_root, subject, session, {"phantom_subject": head, "phantom": protocol})
    dicom = Path(dicom)
    partial = dicom.with_name(f".partial-{dicom.name}")
    shutil.rmtree(partial, ignore_errors=True)
    write_session(acquired(series, subject, protocol["omit"]), partial, Patient(f"PHANTOM-{subject}"), session=session)
    shutil.rmtree(dicom, ignore_errors=True)
    os.replace(partial, dicom)
