"""What a volume should look like, from all the other volumes: a Gaussian process over the gradient directions.

Signal at direction g and b-value b of one voxel: a constant of its shell, plus a quadratic function of the direction
and a smooth function of it, both with covariance C_b(log b difference) between shells, plus white noise. The same
hyperparameters hold for all voxels, so that leave-one-out prediction of all volumes is one small matrix product
(Andersson and Sotiropoulos 2015, NeuroImage 122:166).
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from scan2map.preprocess.dwi.gradients import GradientTable

# Variance of a shell's unknown constant relative to that of the smooth part: large, so that it is free.
CONSTANT_VARIANCE = 1e4
ANGLES_RAD = (0.6, 0.9, 1.2, 1.57, 2.2)
NOISE_RATIOS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
LOG_B_LENGTHS = (0.3, 0.6, 1.2)
# Variance of a quadratic function of the gradient direction (what a tensor's signal mostly is).
QUADRATIC_VARIANCES = (0.0, 10.0)


class Hyperparameters(NamedTuple):
    """Shape of the covariance.

    Attributes:
        angle_rad: beyond this angle two directions tell nothing about each other.
        noise_ratio: noise variance over variance of the smooth part.
        log_b_length: length scale along log b.
        quadratic_variance: variance of the quadratic part over variance of the smooth part.
    """

    angle_rad: float
    noise_ratio: float
    log_b_length: float
    quadratic_variance: float


def spherical_covariance(angle_rad: np.ndarray, limit_rad: float) -> np.ndarray:
    """1 - 3/2 a + 1/2 a^3 with a = angle / limit, 0 beyond the limit."""
    ratio = np.minimum(angle_rad / limit_rad, 1)
    return 1 - 1.5 * ratio + 0.5 * ratio**3


def covariance(gradients: GradientTable, parameters: Hyperparameters) -> np.ndarray:
    """Covariance matrix of the measured volumes of one voxel, (t, t), in units of the smooth part's variance.

    b = 0 volumes share their constant only. Volumes of different shells share the smooth part only.
    """
    weighted, shells = ~gradients.is_b0, gradients.shells
    cosine = np.clip(np.abs(gradients.b_vectors @ gradients.b_vectors.T), 0, 1)
    log_b = np.log(np.where(weighted, shells, 1.0))
    radial = np.exp(-((log_b[:, None] - log_b) ** 2) / (2 * parameters.log_b_length**2))
    angular = spherical_covariance(np.arccos(cosine), parameters.angle_rad)
    shaped = (angular + parameters.quadratic_variance * cosine**2) * radial * np.outer(weighted, weighted)
    constant = CONSTANT_VARIANCE * (shells[:, None] == shells)
    return shaped + constant + parameters.noise_ratio * np.eye(len(gradients))


def leave_one_out(matrix: np.ndarray) -> np.ndarray:
    """Linear map from all volumes to the prediction of each from the others, (t, t), zero diagonal.

    mu_i = y_i - [K^-1 y]_i / [K^-1]_ii (Rasmussen and Williams 2006, equation 5.12).
    """
    inverse = np.linalg.inv(matrix)
    return np.eye(len(matrix)) - inverse / np.diag(inverse)[:, None]


def has_company(gradients: GradientTable) -> np.ndarray:
    """(t,) True for volumes that share their shell with another one, so that a prediction exists."""
    shells = gradients.shells
    return np.array([(shells == shell).sum() > 1 for shell in shells])


def choose_hyperparameters(signal: torch.Tensor, gradients: GradientTable) -> Hyperparameters:
    """The grid point whose leave-one-out predictions of the weighted volumes have the smallest squared error.

    Args:
        signal: (t, n), a sample of brain voxels.
        gradients: table of the t volumes.
    """
    judged = has_company(gradients) & ~gradients.is_b0
    lengths = LOG_B_LENGTHS if len(np.unique(gradients.shells[judged])) > 1 else LOG_B_LENGTHS[-1:]
    grid = product(ANGLES_RAD, NOISE_RATIOS, lengths, QUADRATIC_VARIANCES)
    candidates = [Hyperparameters(*values) for values in grid]
    second_moment = (signal.double() @ signal.double().T).cpu().numpy() / signal.shape[1]
    residuals = [np.eye(len(gradients)) - leave_one_out(covariance(gradients, one)) for one in candidates]
    errors = [np.trace((part @ second_moment @ part.T)[np.ix_(judged, judged)]) for part in residuals]
    return candidates[int(np.argmin(errors))]


def prediction_matrix(gradients: GradientTable, parameters: Hyperparameters) -> np.ndarray:
    """Map from all volumes to the prediction of each from the others, (t, t).

    A volume alone in its shell has no prediction and keeps its own signal.
    """
    matrix = leave_one_out(covariance(gradients, parameters))
    alone = np.flatnonzero(~has_company(gradients))
    matrix[alone] = np.eye(len(gradients))[alone]
    return matrix
