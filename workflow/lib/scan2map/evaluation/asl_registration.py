"""Experiment: M0 images of a simulated head that moved since its T1w image, and where registration puts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scan2map.evaluation.dwi_simulation import SAME_PLACE
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.images import Image
from scan2map.phantom.acquisition.anat import mprage
from scan2map.phantom.acquisition.asl import PerfusedHead, calibration, difference_noise_sigma
from scan2map.phantom.acquisition.scan import Scanner
from scan2map.phantom.study import session_seed
from scan2map.phantom.subject import build_subject, pose
from scan2map.preprocess.asl.coregister import Anatomy, register
from scan2map.preprocess.registration import Transform, rigid_matrix, voxel_centres

STEP = "run_asl_registration"
DESCRIPTION = "Registration of simulated, misplaced M0 images to the T1w image: what is left of the misplacement"
METRIC = "m0_registration"
TISSUES = {"CSF": 0, "GM": 1, "WM": 2}


def misplacement(shift_mm: float, turn_deg: float, centre_mm: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A rigid motion (4, 4) of given size in a random direction and about a random axis through a point.

    Args:
        shift_mm: length of the translation.
        turn_deg: angle of the rotation.
        centre_mm: the point, (3,).
        generator: of the randomness.
    """
    from scipy.spatial.transform import Rotation

    direction, axis = generator.normal(size=(2, 3))
    direction, axis = direction / np.linalg.norm(direction), axis / np.linalg.norm(axis)
    angles = Rotation.from_rotvec(np.radians(turn_deg) * axis).as_euler("xyz")
    return rigid_matrix(shift_mm * direction, angles, centre_mm)


@dataclass(frozen=True)
class RegistrationTrial:
    """A head whose T1w image is known, to be scanned again in other places.

    Attributes:
        scanner: head, pose, protocol and seed; the head keeps its place within a session.
        anatomy_settings: block ``anat``.
    """

    scanner: Scanner
    anatomy_settings: Mapping

    @cached_property
    def anatomy(self) -> Anatomy:
        """Brain mask and tissue maps of the simulated T1w image, found as the rail finds them."""
        from scan2map.preprocess.anat.brain import deepbet_mask
        from scan2map.preprocess.anat.tissue import segment

        series = mprage(self.scanner).series[0]
        image = Image(series.data, series.affine)
        mask = deepbet_mask(image, self.anatomy_settings["brain_threshold"])
        corrected, fractions = segment(image, mask, self.anatomy_settings)
        tissues = {name: Image(fractions[..., place], image.affine) for name, place in TISSUES.items()}
        return Anatomy(
            Image(corrected, image.affine), Image(corrected * mask, image.affine), Image(mask, image.affine), tissues
        )

    def m0(self, motion: np.ndarray) -> Image:
        """M0 image of the head after a world motion (4, 4), on the grid that was planned before it moved."""
        protocol = self.scanner.settings["asl"]
        sampler = self.scanner.sampler(protocol)
        moved = replace(self.scanner, pose=motion @ self.scanner.pose)
        head = PerfusedHead(moved, protocol)
        labelling = protocol["single_delay"] | {"type": "PCASL"}
        sigma = difference_noise_sigma(moved, head, sampler, labelling, moved.pose)
        series, _ = calibration(moved, head, sampler, sigma)
        return Image(series.data, series.affine)

    def brain_points_mm(self) -> np.ndarray:
        """World points (n, 3) of the brain in the T1w image."""
        mask = self.anatomy.mask
        return voxel_centres(mask.data.shape, mask.affine)[mask.data.reshape(-1) > 0]


def displacement_errors(
    found: np.ndarray, true: np.ndarray, points_mm: np.ndarray, grid: Image
) -> dict[str, np.ndarray]:
    """How far a transform puts points from where they are.

    Args:
        found, true: (4, 4) T1w world to M0 world, mm.
        points_mm: (n, 3) in the T1w world.
        grid: of the M0 image.

    Returns:
        Lengths (n,) in ``mm``, and in ``voxel``: along the axes of the grid, in edge lengths.
    """
    off = points_mm @ (found - true)[:3, :3].T + (found - true)[:3, 3]
    return {
        "mm": np.linalg.norm(off, axis=1),
        "voxel": np.linalg.norm(off @ np.linalg.inv(grid.affine[:3, :3]).T, axis=1),
    }


def trial_rows(trial: RegistrationTrial, settings: Mapping, engine: Mapping, seed: int, beside) -> Iterator[Row]:
    """Error before and after registration: mean over the brain, over the placements and in the worst of them.

    Args:
        trial: the head.
        settings: block ``validation.asl_registration``.
        engine: as in :func:`scan2map.preprocess.asl.coregister.register`.
        seed: of the study.
        beside: a path in whose folder FSL may work.
    """
    points = trial.brain_points_mm()
    means = {"before": [], "after": []}
    for placement in range(settings["placements"]):
        generator = trial.scanner.generator(METRIC, str(placement))
        centre = trial.scanner.brain_centre_mm
        true = misplacement(settings["shift_mm"], settings["turn_deg"], centre, generator)
        image = trial.m0(true)
        found = register(image, trial.anatomy, engine, seed, beside=beside).transform
        for stage, transform in (("before", Transform()), ("after", found)):
            errors = displacement_errors(transform.linear, true, points, image)
            means[stage].append({unit: float(values.mean()) for unit, values in errors.items()})
    for stage, errors in means.items():
        for unit in errors[0]:
            values = [one[unit] for one in errors]
            for statistic, value in (("mean_displacement", np.mean(values)), ("worst_placement", np.max(values))):
                yield Row("brain", f"{METRIC}_{stage}", f"{statistic}_{unit}", float(value), unit, len(points))


def run_asl_registration(
    out, *, subject: str, session: str, head: Mapping, protocol: Mapping, anatomy: Mapping, engine: Mapping,
    settings: Mapping, seed: int, threads: int = 1,
) -> None:  # fmt: skip
    """Misplace and register the M0 image of one simulated subject several times; write the errors as a long table.

    Args:
        out: the table.
        subject, session: labels.
        head, protocol: blocks ``phantom_subject`` and ``phantom``.
        anatomy: block ``anat``.
        engine: as in :func:`scan2map.preprocess.asl.coregister.register`.
        settings: block ``validation.asl_registration``.
        seed: of the study.
        threads: of torch.
    """
    import torch

    torch.set_num_threads(threads)
    still = dict(protocol) | {"motion": protocol["motion"] | SAME_PLACE}
    built = build_subject(subject, dict(head), seed)
    scanner = Scanner(built, pose(subject, session, seed), still, session_seed(subject, session, seed))
    rows = list(trial_rows(RegistrationTrial(scanner, anatomy), settings, engine, seed, beside=out))
    table = long_table(rows, subject=subject, session=session)
    write_long_table(table, out, step=STEP, description=DESCRIPTION, settings=dict(settings) | {"seed": seed})
