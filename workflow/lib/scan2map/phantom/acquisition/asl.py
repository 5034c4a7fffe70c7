"""Arterial spin labelling: one delay PCASL, many-delay PCASL and VSASL, and the M0 image they are calibrated with."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from scan2map.phantom.acquisition import epi
from scan2map.phantom.acquisition.grid import AcquisitionGrid, HeadSampler
from scan2map.phantom.acquisition.scan import (
    BRAIN_TISSUES,
    FAT_SUPPRESSION,
    Scan,
    Scanner,
    TruthImage,
    grid_record,
    tissue_truth,
)
from scan2map.phantom.series import AslTiming, Series
from scan2map.physics import asl
from scan2map.physics.noise import rician
from scan2map.physics.relaxation import saturation_recovery

GAIN = 4000.0  # stored units per unit of proton density at TE = 0
PHASE_ENCODING = "j-"
SINGLE, MULTI, VELOCITY, CALIBRATION = "pcasl_singlepld", "pcasl_multipld", "vsasl_multipld", "asl_m0scan"
NUMBERS = {MULTI: 30, VELOCITY: 31, SINGLE: 32, CALIBRATION: 33}
# Series: its settings and its kind of labelling.
LABELLED = {
    MULTI: ("multi_delay", "PCASL"),
    VELOCITY: ("velocity_selective", "VSASL"),
    SINGLE: ("single_delay", "PCASL"),
}


class PerfusedHead:
    """Static tissue and difference signals of the head on the subject's grid.

    Args:
        scanner: head and settings.
        protocol: the ``asl`` settings.
    """

    def __init__(self, scanner: Scanner, protocol: dict):
        self._scanner = scanner
        self._protocol = protocol
        subject = scanner.subject
        self.voxels = np.flatnonzero(subject.cbf_ml_100g_min)
        self.cbf = subject.cbf_ml_100g_min.reshape(-1)[self.voxels]
        self.att_s = subject.att_s.reshape(-1)[self.voxels]

    def _weighted(self, recovery: dict[str, float]) -> torch.Tensor:
        subject, echo_s = self._scanner.subject, self._protocol["echo_time_s"]
        values = {
            name: GAIN * subject.pd[name] * np.exp(-echo_s / subject.t2star_s[name]) * recovery[name]
            for name in subject.fractions
        }
        values["scalp"] *= FAT_SUPPRESSION
        return self._scanner.tissue_signal(values)

    def recovered(self, time_s: float) -> torch.Tensor:
        """Static signal after saturation and a recovery time, (x, y, z)."""
        t1_s = self._scanner.subject.t1_s
        return self._weighted(
            {name: float(saturation_recovery(1.0, np.float64(t1), time_s)) for name, t1 in t1_s.items()}
        )

    @cached_property
    def relaxed(self) -> torch.Tensor:
        """Static signal of the brain at full relaxation: the M0 that difference signals are relative to."""
        return self._weighted({name: float(name in BRAIN_TISSUES) for name in self._scanner.subject.fractions})

    @cached_property
    def tissue_t1_s(self) -> np.ndarray:
        """T1 of perfused tissue at the perfused voxels, s: mean over grey and white matter and lesion."""
        subject = self._scanner.subject
        weights = {name: subject.fractions[name].reshape(-1)[self.voxels] for name in ("gm", "wm", "lesion")}
        total = np.maximum(sum(weights.values()), 1e-3)
        return sum(weight * np.float32(subject.t1_s[name]) for name, weight in weights.items()) / total

    def slice_delay_s(self, grid: AcquisitionGrid, head_to_world: np.ndarray) -> np.ndarray:
        """Time after the first slice at which each perfused voxel is read, s (0 for a 3-D readout)."""
        to_slice = (np.linalg.inv(grid.affine) @ head_to_world @ self._scanner.subject.affine)[2]
        index = np.unravel_index(self.voxels, self.relaxed.shape)
        slices = sum(to_slice[axis] * index[axis] for axis in range(3)) + to_slice[3]
        return (np.clip(slices, 0, grid.shape[2] - 1) * self._protocol["slice_duration_s"]).astype(np.float32)

    def difference(
        self, labelling: dict, pld_s: float, grid: AcquisitionGrid, head_to_world: np.ndarray
    ) -> torch.Tensor:
        """Control minus label, (x, y, z); a 2-D readout reads later slices at a longer delay."""
        delay_s = np.float32(pld_s) + self.slice_delay_s(grid, head_to_world)
        efficiency = asl.labelling_efficiency(labelling["efficiency"], labelling["background_suppression_pulses"])
        duration_s = labelling["label_duration_s"]
        if labelling["type"] == "VSASL":
            relative = asl.vsasl_difference(self.cbf, self.att_s, delay_s, efficiency=efficiency)
        elif self._protocol["kinetic_model"] == "tissue_t1":
            relative = asl.pcasl_difference_kinetic(
                self.cbf, self.att_s, delay_s, duration_s, self.tissue_t1_s, efficiency=efficiency
            )
        else:
            relative = asl.pcasl_difference(self.cbf, self.att_s, delay_s, duration_s, efficiency=efficiency)
        image = np.zeros(self.relaxed.numel(), dtype=np.float32)
        image[self.voxels] = relative
        return torch.from_numpy(image.reshape(self.relaxed.shape)) * self.relaxed

    def static(self, labelling: dict) -> torch.Tensor:
        """Static signal of control images: a residue of M0 with background suppression, else recovered over TR."""
        if labelling["background_suppression_pulses"]:
            return self.relaxed * self._protocol["static_fraction"]
        return self.recovered(self._protocol["repetition_time_s"])


def volume_plan(labelling: dict) -> list[tuple[str, float]]:
    """(context, PLD) of each volume: control and label alternate, all pairs of a delay together."""
    pairs = [("control", "label")] * labelling["pairs"]
    return [(context, pld_s) for pld_s in labelling["post_label_delays_s"] for pair in pairs for context in pair]


def _series(description, data, sampler: HeadSampler, protocol: dict, repetition_time_s: float, timing=None) -> Series:
    slice_times = epi.ascending_slice_times(sampler.grid.shape[2], protocol["slice_duration_s"])
    two_dimensional = protocol["slice_duration_s"] > 0
    return Series(
        NUMBERS[description], description, data, sampler.grid.affine, is_3d=not two_dimensional,
        repetition_time_s=repetition_time_s, echo_time_s=protocol["echo_time_s"], phase_encoding=PHASE_ENCODING,
        total_readout_time_s=protocol["total_readout_time_s"],
        slice_times_s=slice_times if two_dimensional else None, asl=timing, sequence_name="ep2d_asl",
    )  # fmt: skip


def measure(
    scanner: Scanner, head: PerfusedHead, sampler: HeadSampler, description: str, labelling: dict, sigma: float
):
    """One labelled series with motion, distortion and noise, and the record of them."""
    protocol, plan = scanner.settings["asl"], volume_plan(labelling)
    positions = scanner.positions(description, len(plan))
    scan = epi.readout(scanner, sampler, protocol, PHASE_ENCODING)
    noise = scanner.generator(description, "noise")
    static = head.static(labelling)
    data = np.empty((*sampler.grid.shape, len(plan)), dtype=np.float32)
    for index, ((context, pld_s), place) in enumerate(zip(plan, positions, strict=True)):
        labelled = head.difference(labelling, pld_s, sampler.grid, place) if context == "label" else 0
        data[..., index] = rician(scan.measure(static - labelled, place).numpy(), sigma, noise)
    contexts, delays = zip(*plan, strict=True)
    timing = AslTiming(
        labelling["type"], contexts, delays, labelling["label_duration_s"], labelling["background_suppression_pulses"]
    )
    record = {
        "grid": grid_record(sampler.grid), "noise_sigma": sigma, "labelling": labelling,
        "head_to_world": [np.round(place, 6).tolist() for place in positions],
    }  # fmt: skip
    return _series(description, data, sampler, protocol, protocol["repetition_time_s"], timing), record


def calibration(scanner: Scanner, head: PerfusedHead, sampler: HeadSampler, sigma: float) -> tuple[Series, dict]:
    """The M0 image: long repetition time, no labelling."""
    protocol = scanner.settings["asl"]
    place = scanner.resting_place(CALIBRATION)
    scan = epi.readout(scanner, sampler, protocol, PHASE_ENCODING)
    ideal = scan.measure(head.recovered(protocol["m0_repetition_time_s"]), place).numpy()
    data = rician(ideal, sigma, scanner.generator(CALIBRATION, "noise"))
    record = {"grid": grid_record(sampler.grid), "noise_sigma": sigma, "head_to_world": [np.round(place, 6).tolist()]}
    return _series(CALIBRATION, data, sampler, protocol, protocol["m0_repetition_time_s"]), record


def difference_noise_sigma(scanner: Scanner, head: PerfusedHead, sampler: HeadSampler, labelling: dict, place) -> float:
    """Noise per volume from SNR_GM: mean grey-matter difference over all delays, divided by the ratio."""
    signals = [
        head.difference(labelling, pld_s, sampler.grid, place).numpy() for pld_s in labelling["post_label_delays_s"]
    ]
    grey = sampler.read_array(scanner.subject.fractions["gm"], place)
    mean = sampler.read_array(np.mean(signals, axis=0), place)
    return scanner.noise_sigma(mean, grey, scanner.settings["asl"]["snr_gm"])


def truth_images(scanner: Scanner, sampler: HeadSampler, place: np.ndarray) -> list[TruthImage]:
    """CBF, transit time and tissue on the grid of the single-delay series, undistorted, head as in its first volume."""
    affine = sampler.grid.affine
    maps = scanner.tissue_maps(sampler, place)
    cbf = sampler.read_array(scanner.subject.cbf_ml_100g_min, place)
    # Transit time is defined by perfused tissue alone: a plain mean would shorten it at every border.
    weighted = sampler.read_array(scanner.subject.att_s * scanner.subject.cbf_ml_100g_min, place)
    att = np.where(cbf > 1, weighted / np.maximum(cbf, 1), 0)
    return [
        *tissue_truth("perf", maps, affine),
        TruthImage("perf", "cbf", cbf, affine, "Perfusion, mean over the voxel", "mL/100g/min"),
        TruthImage("perf", "att", att.astype(np.float32), affine, "Arterial transit time, weighted by perfusion", "s"),
    ]


def acquire(scanner: Scanner) -> Scan:
    """All labelled series, the M0 image, and what is true on their grid."""
    protocol = scanner.settings["asl"]
    sampler = scanner.sampler(protocol)
    head = PerfusedHead(scanner, protocol)
    place = scanner.resting_place(SINGLE)
    measured, sigma = [], {}
    for name, (key, kind) in LABELLED.items():
        labelling = protocol[key] | {"type": kind}
        sigma[name] = difference_noise_sigma(scanner, head, sampler, labelling, place)
        measured.append(measure(scanner, head, sampler, name, labelling, sigma[name]))
    measured.append(calibration(scanner, head, sampler, sigma[SINGLE]))
    records = {series.description: record for series, record in measured}
    return Scan([series for series, _ in measured], truth_images(scanner, sampler, place), records)
