"""Phase-cycled bSSFP as magnitude and phase."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from scan2map.phantom.acquisition.anat import receive_phase
from scan2map.phantom.acquisition.scan import Scan, Scanner, grid_record
from scan2map.phantom.fibres import AXON_FRACTION
from scan2map.phantom.series import Series
from scan2map.phantom.subject import DigitalSubject
from scan2map.physics.bssfp import (
    ISOTROPIC_SIN2,
    BssfpProtocol,
    MyelinWater,
    steady_state_signal,
    two_pool_signal,
)
from scan2map.physics.noise import complex_gaussian

GAIN = 12_000.0  # stored units per unit of M0: brain near 1500 of 4095
NAME = "bssfp_pc12"
COHERENT_FIBRE_FRACTION = 0.5  # stick fraction above which white matter counts as one coherent bundle


def fibre_sin2(subject: DigitalSubject, rotation: np.ndarray) -> np.ndarray:
    """sin² of the angle between fibres and B0 (world z) for a turned head, (x, y, z).

    Less coherent white matter tends to the mean over all directions, 2/3.

    Args:
        subject: the digital head.
        rotation: (3, 3), head as built to head as it lies.
    """
    along = subject.fibre_direction @ rotation[2].astype(np.float32)
    coherence = np.clip(subject.fibre_fraction / COHERENT_FIBRE_FRACTION, 0, 1)
    return ISOTROPIC_SIN2 + coherence * (1 - along**2 - ISOTROPIC_SIN2)


def myelin_share(subject: DigitalSubject, settings: dict) -> np.ndarray | float:
    """Share of the white-matter signal that is myelin water: the same everywhere, or as many axons (x, y, z).

    Args:
        subject: the digital head.
        settings: block ``phantom.bssfp.myelin_water``.
    """
    if not settings["follows_axons"]:
        return settings["fraction"]
    return np.float32(settings["fraction"] / AXON_FRACTION) * subject.axon_fraction.reshape(-1)


def head_signal(subject: DigitalSubject, rotation, increment_rad: float, protocol, myelin: MyelinWater) -> np.ndarray:
    """Complex signal of one phase cycle on the subject's grid, M0 of water = 1, (x, y, z)."""
    total = np.zeros(subject.field_hz.size, dtype=np.complex64)
    field = subject.field_hz.reshape(-1)
    sin2 = fibre_sin2(subject, rotation).reshape(-1)
    for name, fraction in subject.fractions.items():
        voxels = np.flatnonzero(fraction)
        m0 = np.float32(subject.pd[name]) * fraction.reshape(-1)[voxels]
        times = (np.float32(subject.t1_s[name]), np.float32(subject.t2_s[name]))
        phase = np.float32(increment_rad)
        if name == "wm":
            share = myelin.fraction[voxels] if np.ndim(myelin.fraction) else myelin.fraction
            pools = replace(myelin, fraction=share)
            total[voxels] += two_pool_signal(m0, *times, field[voxels], sin2[voxels], phase, protocol, pools)
        else:
            total[voxels] += steady_state_signal(m0, *times, field[voxels], phase, protocol)
    return total.reshape(subject.field_hz.shape)


def measure(scanner: Scanner, settings: dict, protocol: BssfpProtocol) -> tuple[np.ndarray, dict, np.ndarray]:
    """Noisy complex images (x, y, z, cycles), their record, and the affine."""
    sampler = scanner.sampler(settings)
    positions = scanner.positions(NAME, protocol.phase_cycles)
    constants = {key: value for key, value in settings["myelin_water"].items() if key != "follows_axons"}
    myelin = MyelinWater(**constants | {"fraction": myelin_share(scanner.subject, settings["myelin_water"])})
    images = []
    for place, increment in zip(positions, protocol.increments_rad, strict=True):
        signal = GAIN * head_signal(scanner.subject, place[:3, :3], increment, protocol, myelin)
        parts = sampler.read(torch.from_numpy(np.stack([signal.real, signal.imag])), place).numpy()
        images.append(parts[0] + 1j * parts[1])
    ideal = np.stack(images, axis=-1)
    white = sampler.read_array(scanner.subject.fractions["wm"], positions[0])
    sigma = scanner.noise_sigma(np.abs(ideal).mean(-1), white, settings["snr"])
    position = sampler.grid.world_mm()
    offsets = scanner.generator(NAME, "offset").uniform(-np.pi, np.pi, protocol.phase_cycles).astype(np.float32)
    coil = scanner.sensitivity(position) * np.exp(1j * receive_phase(position, scanner.generator(NAME, "phase")))
    data = complex_gaussian(ideal * coil[..., None] * np.exp(1j * offsets), sigma, scanner.generator(NAME, "noise"))
    record = {
        "grid": grid_record(sampler.grid), "noise_sigma": sigma, "phase_offset_rad": np.round(offsets, 6).tolist(),
        "head_to_world": [np.round(place, 6).tolist() for place in positions],
    }  # fmt: skip
    return data, record, sampler.grid.affine


def protocol_of(settings: dict) -> BssfpProtocol:
    """Timing of the settings block ``phantom.bssfp``."""
    return BssfpProtocol(
        settings["repetition_time_s"], settings["echo_time_s"], settings["flip_angle_deg"], settings["phase_cycles"]
    )


def acquire(scanner: Scanner) -> Scan:
    """Magnitude and phase of all cycles; each cycle has its own unknown global phase, as on a scanner."""
    settings = scanner.settings["bssfp"]
    protocol = protocol_of(settings)
    data, record, affine = measure(scanner, settings, protocol)
    common = {
        "affine": affine, "repetition_time_s": protocol.repetition_time_s, "echo_time_s": protocol.echo_time_s,
        "flip_angle_deg": protocol.flip_angle_deg, "sequence_name": "tfi3d1",
    }  # fmt: skip
    series = [
        Series(20, NAME, np.abs(data), **common),
        Series(21, f"{NAME}_PHASE", np.angle(data), kind="phase", **common),
    ]
    return Scan(series, parameters={NAME: record})
