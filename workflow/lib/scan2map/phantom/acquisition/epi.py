"""What diffusion and labelling series share: the echo-planar protocol, slice times, dropped slices."""

from __future__ import annotations

import numpy as np

from scan2map.phantom.acquisition.distortion import EpiReadout
from scan2map.phantom.acquisition.grid import HeadSampler
from scan2map.phantom.acquisition.scan import Scanner


def readout(scanner: Scanner, sampler: HeadSampler, protocol: dict, phase_encoding: str) -> EpiReadout:
    """The echo-planar readout of a protocol, with the head's field and the coils' sensitivity."""
    return EpiReadout(
        sampler,
        scanner.subject.field_hz,
        protocol["total_readout_time_s"],
        phase_encoding,
        sensitivity=scanner.sensitivity,
        distorted=scanner.settings["susceptibility"]["enabled"],
    )


def interleaved_slice_times(slices: int, duration_s: float) -> np.ndarray:
    """Even slices first, then odd, equally spaced over a duration, s, rounded to 0.1 ms."""
    order = np.r_[np.arange(0, slices, 2), np.arange(1, slices, 2)]
    times = np.empty(slices)
    times[order] = np.arange(slices) * duration_s / slices
    return np.round(times, 4)


def ascending_slice_times(slices: int, slice_duration_s: float) -> np.ndarray:
    """Slices from foot to head one after the other, s."""
    return np.round(np.arange(slices) * slice_duration_s, 4)


def dropped_slices(volumes: int, slices: int, settings: dict, generator: np.random.Generator) -> np.ndarray:
    """Share of the signal that each slice keeps, (volumes, slices): 1, or less where bulk motion spoiled it.

    Args:
        settings: ``slice_probability`` (0 to 1) and ``remaining_signal`` (0 to 1).
        generator: source of randomness.
    """
    spoiled = generator.random((volumes, slices)) < settings["slice_probability"]
    return np.where(spoiled, settings["remaining_signal"], 1.0).astype(np.float32)
