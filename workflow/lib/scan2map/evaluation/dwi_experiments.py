"""Experiments on simulated diffusion scans with known truth: how much of each disturbance the rail undoes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryDirectory

import numpy as np

from scan2map.evaluation.dwi_chain import Chain, Weighted, as_measured
from scan2map.evaluation.dwi_scores import (
    RMSE,
    direction_errors_deg,
    displacement_rows,
    fa_error,
    holds_brain,
    motion_rows,
    outlier_rows,
)
from scan2map.evaluation.dwi_simulation import SAME_PLACE, UNDISTURBED, SimulatedHead, SimulatedScan, b0_table
from scan2map.evaluation.long_table import Row, long_table, write_long_table
from scan2map.phantom.acquisition.scan import Scanner
from scan2map.phantom.series import Series
from scan2map.phantom.study import session_seed
from scan2map.phantom.subject import build_subject, pose
from scan2map.physics.epi import displacement_voxels

STEP = "run_dwi_experiment"
DESCRIPTION = "A disturbance of simulated diffusion scans, and what is left of it after the rail's correction"
# No slice is that far below its prediction: outliers are neither left out nor replaced.
NEVER_SD = 1e6


@dataclass(frozen=True)
class Experiment:
    """What all conditions share.

    Attributes:
        head: the simulated head, protocol and seed.
        chain: the rail's steps.
        settings: block ``validation.dwi_experiments``.
        tissue_threshold: white matter begins at this true fraction.
    """

    head: SimulatedHead
    chain: Chain
    settings: Mapping
    tissue_threshold: float


class Reference:
    """Truth about one place of the head, and how an ideal scan of it (undistorted, unmoved, same noise) does.

    Args:
        experiment: the experiment.
        place: where the head lies.
    """

    def __init__(self, experiment: Experiment, place: np.ndarray):
        self._experiment = experiment
        self.maps = experiment.head.tensor_truth(place)
        self.brain = self.maps["mask"] > 0.5
        self.white_matter = self.brain & (self.maps["WM"] >= experiment.tissue_threshold)

    def fa_error(self, series: Weighted) -> float:
        """RMSE of the FA of a series in white matter."""
        maps = self._experiment.chain.tensor(series, self.white_matter)
        return fa_error(maps, self.maps["FA"], self.white_matter)

    def direction_error_deg(self, series: Weighted) -> float:
        """Median axial angle between measured and true principal direction in white matter."""
        maps = self._experiment.chain.tensor(series, self.white_matter)
        errors = direction_errors_deg(maps, self.maps["tensor"], self.maps["FA"], self.white_matter)
        return float(np.median(errors))

    @cached_property
    def ideal_fa_error(self) -> float:
        """RMSE of FA of the ideal scan: noise alone."""
        return self.fa_error(as_measured(self._experiment.head.with_changes(UNDISTURBED).scan()))

    def fa_rows(self, series: Mapping[str, Weighted]) -> Iterator[Row]:
        """RMSE of FA per series, and its ratio to that of the ideal scan and of the first series."""
        count = int(self.white_matter.sum())
        errors = {name: self.fa_error(one) for name, one in series.items()} | {"ideal": self.ideal_fa_error}
        first = next(iter(errors))
        for name, error in errors.items():
            yield Row("WM", f"FA_{name}", RMSE, error, "1", count)
            yield Row("WM", f"FA_{name}", "ratio_to_ideal", error / self.ideal_fa_error, "1", count)
            yield Row("WM", f"FA_{name}", f"ratio_to_{first}", error / errors[first], "1", count)


def displacement(field_hz: np.ndarray, series: Series) -> np.ndarray:
    """Displacement along the phase encoding of a series, voxels."""
    return displacement_voxels(field_hz, series.total_readout_time_s, series.phase_encoding)


def susceptibility_rows(experiment: Experiment) -> Iterator[Row]:
    """One b = 0 image per direction: the field with the head at rest, and with the head moved between the two."""
    heads = {"rest": experiment.head.with_changes({"motion": SAME_PLACE}), "moved": experiment.head}
    for name, head in heads.items():
        scan = head.scan(b0_table(1), reversed_b0=1)
        experiment.chain.prepare_b0(scan)
        estimated = experiment.chain.estimate_field()
        true, brain = head.field_truth(scan.place)
        yield from displacement_rows(displacement(estimated, scan.main), displacement(true, scan.main), brain, name)


def _corrected(experiment: Experiment, scan: SimulatedScan) -> Weighted:
    measured = experiment.chain.prepare(scan)
    experiment.chain.estimate_field()
    experiment.chain.find_brain()
    return measured


def _centre_mm(series: Weighted) -> np.ndarray:
    image = series.image
    return (image.affine @ np.r_[(np.array(image.data.shape[:3]) - 1) / 2, 1])[:3]


def motion_experiment(experiment: Experiment) -> Iterator[Row]:
    """All of distortion, eddy currents and a drift of the head to the excursion of the settings."""
    settings = experiment.settings
    scan = experiment.head.with_excursion(settings["excursion_mm"], settings["excursion_deg"]).scan()
    measured = _corrected(experiment, scan)
    corrected = experiment.chain.correct("corrected")
    yield from motion_rows(corrected.parameters, scan.motion, _centre_mm(measured))
    reference = Reference(experiment, scan.place)
    yield from reference.fa_rows({"uncorrected": measured, "corrected": corrected.series})


def rotation_experiment(experiment: Experiment) -> Iterator[Row]:
    """A head that turns during the scan: the corrected series with and without rotated b-vectors."""
    settings = experiment.settings
    scan = experiment.head.with_excursion(settings["excursion_mm"], settings["turn_deg"]).scan()
    measured = _corrected(experiment, scan)
    rotated = experiment.chain.correct("corrected").series
    series = {"unrotated": rotated._replace(gradients=measured.gradients), "rotated": rotated}
    reference = Reference(experiment, scan.place)
    count = int(reference.white_matter.sum())
    errors = {name: reference.direction_error_deg(one) for name, one in series.items()}
    for name, error in errors.items():
        yield Row("WM", f"direction_{name}", "median_axial_angle", error, "deg", count)
    yield Row("WM", "direction_rotated", "ratio_to_unrotated", errors["rotated"] / errors["unrotated"], "1", count)
    yield from reference.fa_rows(series)


def outlier_experiment(experiment: Experiment) -> Iterator[Row]:
    """Slices of diffusion-weighted volumes lose signal: found and replaced, or left as they are."""
    dropout = {
        "slice_probability": experiment.settings["dropout_probability"],
        "remaining_signal": experiment.settings["dropout_remaining_signal"],
    }
    scan = experiment.head.with_changes({"dropout": dropout}).scan()
    measured = _corrected(experiment, scan)
    replaced = experiment.chain.correct("replaced")
    kept = experiment.chain.correct("kept", outlier_threshold_sd=NEVER_SD)
    reference = Reference(experiment, scan.place)
    judged = holds_brain(reference.brain, measured.image.voxel_size_mm)
    yield from outlier_rows(replaced.outliers, scan.lost, judged)
    yield from reference.fa_rows({"kept": kept.series, "replaced": replaced.series})


CONDITIONS: dict[str, Callable[[Experiment], Iterator[Row]]] = {
    "susceptibility": susceptibility_rows,
    "motion": motion_experiment,
    "rotation": rotation_experiment,
    "outliers": outlier_experiment,
}


def simulated_head(
    subject: str, session: str, head: Mapping, protocol: Mapping, settings: Mapping, seed: int
) -> SimulatedHead:
    """The subject of an experiment, its field scaled to the largest shift, its scan to the signal-to-noise ratio.

    Args:
        subject, session: labels.
        head: block ``phantom_subject``.
        protocol: block ``phantom``.
        settings: block ``validation.dwi_experiments``.
        seed: of the study.
    """
    diffusion = protocol["dwi"] | {"snr": settings["b0_snr"]}
    largest_hz = settings["max_shift_voxels"] / diffusion["total_readout_time_s"]
    built = build_subject(subject, dict(head) | {"field_max_hz": largest_hz}, seed)
    place = pose(subject, session, seed)
    return SimulatedHead(
        Scanner(built, place, dict(protocol) | {"dwi": diffusion}, session_seed(subject, session, seed))
    )


def run_dwi_experiment(
    out, *, subject: str, session: str, condition: str, head, protocol, steps, settings, seed, device="cpu", threads=1
) -> None:
    """Run one condition on one simulated subject and write its figures as a long table.

    Args:
        out: the table.
        subject, session: labels.
        condition: one of ``CONDITIONS``.
        head: block ``phantom_subject``.
        protocol: block ``phantom``.
        steps: blocks ``dwi``, ``fieldmap``, ``fsl`` of the rail.
        settings: block ``validation.dwi_experiments`` and, as ``tissue_threshold``, that of ``evaluation``.
        seed: of the study.
        device: torch device.
        threads: of torch.
    """
    import torch

    torch.set_num_threads(threads)
    simulated = simulated_head(subject, session, head, protocol, settings, seed)
    with TemporaryDirectory() as folder:
        chain = Chain(folder, steps, device, threads)
        experiment = Experiment(simulated, chain, settings, settings["tissue_threshold"])
        rows = list(CONDITIONS[condition](experiment))
    table = long_table(
        (row._replace(metric=f"{condition}:{row.metric}") for row in rows), subject=subject, session=session
    )
    write_long_table(table, out, step=STEP, description=DESCRIPTION, settings=dict(settings) | {"seed": seed})
