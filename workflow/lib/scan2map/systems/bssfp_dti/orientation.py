"""How much the bSSFP signal itself, voxel by voxel, tells about the angle of a fibre to B0.

A ridge regression from the channels of one hemisphere's white matter to sin² of the angle, scored on the other
hemisphere: no neighbours and no place, so nothing of the anatomy but what the tissue's own signal shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scan2map.physics.diffusion import principal_direction, tensor_scalars

WHITE_SHARE = 0.9
COHERENT_FA = 0.4
RIDGE = 1e-3  # relative to the mean variance of a channel
B0_AXIS = 2
FEWEST_VOXELS = 200


def _coherent(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """White matter that is one bundle, boolean (x, y, z)."""
    truth = np.moveaxis(arrays["truth"], 0, -1).astype(float)
    return (arrays["tissue"][2] > WHITE_SHARE) & (tensor_scalars(truth).fa > COHERENT_FA) & (arrays["mask"] > 0)


def white_matter_samples(arrays: Mapping[str, np.ndarray], session: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal of coherent white matter relative to its size and phase, sin² of the fibre angle, and which side it is on.

    The mean magnitude, which shows tissue, and the mean phase, which shows field and coil, are divided out of a voxel.

    Args:
        arrays: of a data set file.
        session: bSSFP session.

    Returns:
        (n, 24) channels, (n,) sin², (n,) True for the right half of the grid.
    """
    chosen = _coherent(arrays)
    parts = arrays["bssfp"][session][:, chosen].astype(np.float32)
    signal = (parts[0::2] + 1j * parts[1::2]).T
    signal = signal / np.abs(signal).mean(1, keepdims=True)
    signal = signal * np.exp(-1j * np.angle(signal.mean(1, keepdims=True)))
    along = principal_direction(np.moveaxis(arrays["truth"], 0, -1)[chosen].astype(float))[:, B0_AXIS]
    right = np.argwhere(chosen)[:, 0] >= chosen.shape[0] / 2
    return np.hstack([signal.real, signal.imag]), 1 - along**2, right


def _ridge(channels: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, mean of the channels and mean of the values."""
    centre, mean = channels.mean(0), float(values.mean())
    moved = channels - centre
    gram = moved.T @ moved
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram, moved.T @ (values - mean)), centre, mean


def quadratic_features(channels: np.ndarray, components: int = 6) -> np.ndarray:
    """Channels with squares and products of their first principal components: profiles are not linear in the shift."""
    moved = channels - channels.mean(0)
    _, _, axes = np.linalg.svd(moved[:: max(1, len(moved) // 5000)], full_matrices=False)
    scores = moved @ axes[:components].T
    rows, columns = np.triu_indices(components)
    return np.hstack([channels, scores[:, rows] * scores[:, columns]])


def fibre_angle_r2(arrays: Mapping[str, np.ndarray], session: int = 0) -> float:
    """Share of the variance of sin² (fibre angle to B0) that the signal explains across hemispheres.

    0 or less is none; NaN where there is too little coherent white matter to tell.

    Args:
        arrays: of a data set file: ``bssfp``, ``truth``, ``tissue``, ``mask``.
        session: bSSFP session.
    """
    channels, values, right = white_matter_samples(arrays, session)
    if min(right.sum(), (~right).sum()) < FEWEST_VOXELS:
        return float("nan")
    features = quadratic_features(channels)
    weights, centre, mean = _ridge(features[~right], values[~right])
    predicted = (features[right] - centre) @ weights + mean
    residual = ((values[right] - predicted) ** 2).sum()
    return float(1 - residual / ((values[right] - values[right].mean()) ** 2).sum())


def inclination_errors_deg(arrays: Mapping[str, np.ndarray], expected: np.ndarray) -> tuple[float, float]:
    """Median error of the fibre angle to B0 from anatomy alone, and from anatomy and the voxel's signal.

    Both are ridge regressions from one hemisphere to the other, of the deviation of sin² from what anatomy expects. The
    signal says something of its own where the second error is below the first.

    Args:
        arrays: of a data set file.
        expected: principal directions (x, y, z, 3) that anatomy leads to expect.
    """
    channels, values, right = white_matter_samples(arrays, 0)
    likely = 1 - expected[_coherent(arrays)][:, B0_AXIS] ** 2
    place = np.stack([likely, likely**2], axis=1)
    errors = []
    for features in (place, np.hstack([place, quadratic_features(channels)])):
        weights, centre, mean = _ridge(features[~right], (values - likely)[~right])
        found = likely[right] + (features[right] - centre) @ weights + mean
        errors.append(float(np.median(np.abs(_inclination_deg(found) - _inclination_deg(values[right])))))
    return errors[0], errors[1]


def _inclination_deg(sin2: np.ndarray) -> np.ndarray:
    return np.degrees(np.arcsin(np.sqrt(np.clip(sin2, 0, 1))))
