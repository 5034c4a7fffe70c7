"""Head motion: slow drift within a series and a new resting place between series."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from scan2map.phantom.deformation import rigid_matrix


def random_walk(steps: int, spread: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Random walks from 0 whose root mean square over the series is the spread.

    Args:
        steps: number of volumes.
        spread: (n,) root mean square of each walk.
        generator: source of randomness.

    Returns:
        (steps, n); the first row is 0.
    """
    walk = np.zeros((steps, len(spread)))
    walk[1:] = np.cumsum(generator.standard_normal((steps - 1, len(spread))), axis=0)
    size = np.sqrt((walk**2).mean(0))
    return walk * np.divide(spread, size, out=np.zeros_like(size), where=size > 0)


def motion_track(volumes: int, settings: dict, generator: np.random.Generator, centre_mm) -> list[np.ndarray]:
    """Position of the head at each volume relative to the first, 4x4 world transforms (RAS mm).

    Args:
        volumes: number of volumes.
        settings: ``enabled``, ``translation_rms_mm``, ``rotation_rms_deg`` (per axis, over the series).
        generator: source of randomness.
        centre_mm: centre of rotation.
    """
    spread = np.repeat([settings["translation_rms_mm"], settings["rotation_rms_deg"]], 3).astype(float)
    walk = random_walk(volumes, spread * bool(settings["enabled"]), generator)
    return [rigid_matrix(row[:3], row[3:], centre_mm) for row in walk]


def resting_place(settings: dict, generator: np.random.Generator, centre_mm) -> np.ndarray:
    """Where the head lies in a series relative to the session's pose, 4x4 world transform (RAS mm).

    Args:
        settings: ``enabled``, ``between_series_mm``, ``between_series_deg`` (standard deviations per axis).
        generator: source of randomness.
        centre_mm: centre of rotation.
    """
    shift = generator.normal(0, 1, 3) * settings["between_series_mm"] * bool(settings["enabled"])
    turn = generator.normal(0, 1, 3) * settings["between_series_deg"] * bool(settings["enabled"])
    return rigid_matrix(shift, turn, centre_mm)


def motion_parameters(transform: np.ndarray, centre_mm) -> np.ndarray:
    """Translation of the centre (mm) and xyz Euler angles (rad) of a rigid transform, (6,)."""
    centre = np.asarray(centre_mm, dtype=float)
    translation = transform[:3, :3] @ centre + transform[:3, 3] - centre
    return np.round(np.concatenate([translation, Rotation.from_matrix(transform[:3, :3]).as_euler("xyz")]), 9) + 0.0
