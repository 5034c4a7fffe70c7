"""T1-weighted imaging: localizer, MP2RAGE (two inversions, their phases, the uniform image) and MPRAGE."""

from __future__ import annotations

import numpy as np
import torch

from scan2map.phantom.acquisition.distortion import spatial_basis
from scan2map.phantom.acquisition.scan import Scan, Scanner, grid_record, tissue_truth
from scan2map.phantom.series import Series
from scan2map.physics.noise import complex_gaussian, rician
from scan2map.physics.relaxation import (
    InversionProtocol,
    ReadoutTrain,
    inversion_recovery_trains,
    mp2rage_uniform,
    spoiled_gradient_echo,
)

GAIN = 40_000.0  # stored units per unit of transverse magnetisation: brain near 2000 of 4095
LOCALIZER_TIMING = (0.01, 0.004, 20.0)  # repetition time s, echo time s, flip angle degrees
UNIFORM_SCALE = 4095.0  # the scanner stores −0.5..0.5 as 0..4095


def inversion_protocol(settings: dict) -> InversionProtocol:
    """Timing of MPRAGE or MP2RAGE from its settings."""
    trains = zip(settings["inversion_times_s"], settings["flip_angles_deg"], strict=True)
    return InversionProtocol(
        repetition_time_s=settings["repetition_time_s"],
        echo_spacing_s=settings["echo_spacing_s"],
        readouts=settings["readouts"],
        trains=tuple(ReadoutTrain(*train) for train in trains),
    )


def inversion_images(scanner: Scanner, protocol: InversionProtocol, echo_time_s: float) -> torch.Tensor:
    """Signed images of each readout train on the subject's grid, (trains, x, y, z), M0 of water = 1."""
    subject = scanner.subject
    signals = {
        name: [
            subject.pd[name] * float(np.exp(-echo_time_s / subject.t2star_s[name])) * float(value)
            for value in inversion_recovery_trains(np.float64(subject.t1_s[name]), protocol)
        ]
        for name in subject.fractions
    }
    count = len(protocol.trains)
    return torch.stack([scanner.tissue_signal({n: s[index] for n, s in signals.items()}) for index in range(count)])


def receive_phase(position_mm: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Smooth phase of the receive coils, rad."""
    return spatial_basis(position_mm) @ (generator.normal(0, 0.5, 10).astype(np.float32))


def localizer(scanner: Scanner) -> Series:
    """A coarse gradient echo that positions the others; the pipeline has no use for it."""
    protocol = scanner.settings["anat"]["localizer"]
    sampler = scanner.sampler(protocol)
    subject = scanner.subject
    values = {}
    for name, pd in subject.pd.items():
        t1_s, t2star_s = np.float64(subject.t1_s[name]), np.float64(subject.t2star_s[name])
        values[name] = GAIN * spoiled_gradient_echo(pd, t1_s, t2star_s, *LOCALIZER_TIMING)
    image = sampler.read_array(scanner.tissue_signal(values).numpy(), scanner.resting_place("localizer"))
    repetition_time_s, echo_time_s, flip_angle_deg = LOCALIZER_TIMING
    return Series(
        1, "localizer", image, sampler.grid.affine, is_3d=False, repetition_time_s=repetition_time_s,
        echo_time_s=echo_time_s, flip_angle_deg=flip_angle_deg, sequence_name="fl2d1",
    )  # fmt: skip


def mp2rage(scanner: Scanner) -> Scan:
    """Two inversion images with phase, and the uniform image computed from their noisy values."""
    settings = scanner.settings["anat"]
    protocol = settings["mp2rage"]
    sampler = scanner.sampler(settings)
    place = scanner.resting_place("mp2rage")
    position = sampler.grid.world_mm()
    signed = GAIN * sampler.read(
        inversion_images(scanner, inversion_protocol(protocol), protocol["echo_time_s"]), place
    )
    white = sampler.read_array(scanner.subject.fractions["wm"], place)
    sigma = scanner.noise_sigma(signed[1].numpy(), white, settings["snr"])
    coil = scanner.sensitivity(position) * np.exp(1j * receive_phase(position, scanner.generator("mp2rage", "phase")))
    generator = scanner.generator("mp2rage", "noise")
    images = [complex_gaussian(image * coil, sigma, generator) for image in signed.numpy()]
    uniform = (mp2rage_uniform(*images) + 0.5) * UNIFORM_SCALE
    common = {
        "affine": sampler.grid.affine, "repetition_time_s": protocol["repetition_time_s"],
        "echo_time_s": protocol["echo_time_s"], "sequence_name": "tfl3d1_16ns",
    }  # fmt: skip
    series = []
    for index, image in enumerate(images):
        timing = {
            "inversion_time_s": protocol["inversion_times_s"][index],
            "flip_angle_deg": protocol["flip_angles_deg"][index],
        }
        series.append(Series(2 + 2 * index, f"mp2rage_INV{index + 1}", np.abs(image), **timing, **common))
        series.append(
            Series(3 + 2 * index, f"mp2rage_INV{index + 1}_PHASE", np.angle(image), kind="phase", **timing, **common)
        )
    series.append(Series(6, "mp2rage_UNI", uniform.astype(np.float32), flip_angle_deg=4.0, **common))
    record = {"head_to_world": place.tolist(), "noise_sigma": sigma, "grid": grid_record(sampler.grid)}
    return Scan(series, parameters={"mp2rage": record})


def mprage(scanner: Scanner) -> Scan:
    """The T1w image that preprocessing uses, and the ground truth on its grid."""
    settings = scanner.settings["anat"]
    protocol = settings["mprage"]
    sampler = scanner.sampler(settings)
    place = scanner.resting_place("t1w_mprage")
    signed = inversion_images(scanner, inversion_protocol(protocol), protocol["echo_time_s"])
    ideal = GAIN * sampler.read(signed, place)[0].abs().numpy()
    maps = scanner.tissue_maps(sampler, place)
    sigma = scanner.noise_sigma(ideal, maps["wm"], settings["snr"])
    measured = rician(
        ideal * scanner.sensitivity(sampler.grid.world_mm()), sigma, scanner.generator("t1w_mprage", "noise")
    )
    series = Series(
        7, "t1w_mprage", measured, sampler.grid.affine, repetition_time_s=protocol["repetition_time_s"],
        echo_time_s=protocol["echo_time_s"], flip_angle_deg=protocol["flip_angles_deg"][0],
        inversion_time_s=protocol["inversion_times_s"][0], sequence_name="tfl3d1",
    )  # fmt: skip
    images = tissue_truth("anat", maps, sampler.grid.affine, names=("csf", "gm", "wm", "lesion"))
    record = {"head_to_world": place.tolist(), "noise_sigma": sigma, "grid": grid_record(sampler.grid)}
    return Scan([series], images, {"t1w_mprage": record})


def acquire(scanner: Scanner) -> Scan:
    """Localizer, MP2RAGE and MPRAGE."""
    first, second = mp2rage(scanner), mprage(scanner)
    return Scan(
        [localizer(scanner), *first.series, *second.series], second.images, first.parameters | second.parameters
    )
