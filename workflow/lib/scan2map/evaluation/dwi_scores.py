"""How far estimated motion, lost slices and tensors of a simulated scan are from the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from scan2map.evaluation.agreement import root_mean_square_error
from scan2map.evaluation.long_table import Row
from scan2map.evaluation.truth import DIRECTION_MIN_FA, axial_angle_deg, principal_direction
from scan2map.preprocess.dwi.tensor import TensorMaps

RMSE, WORST_AXIS_RMSE = "root_mean_square_error", "worst_axis_root_mean_square_error"
# A slice with less brain than this has no signal to lose: whether it was dropped cannot be seen, and does not matter.
SLICE_BRAIN_MM2 = 1000.0


def root_mean_square(values) -> float:
    """Root of the mean of the squares."""
    return float(np.sqrt(np.mean(np.square(values))))


def rigid_matrices(parameters: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """World motion (t, 4, 4) of rows of the motion table: mm and rad, R = Rx Ry Rz about a centre.

    By SciPy, so that the meaning of the columns is checked and not the code that wrote them.
    """
    matrices = np.tile(np.eye(4), (len(parameters), 1, 1))
    matrices[:, :3, :3] = Rotation.from_euler("XYZ", parameters[:, 3:]).as_matrix()
    matrices[:, :3, 3] = centre_mm + parameters[:, :3] - matrices[:, :3, :3] @ centre_mm
    return matrices


def residual_motion(estimated: np.ndarray, true: np.ndarray, centre_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the motion after the estimated one is undone.

    Args:
        estimated, true: (t, 4, 4) world motion, mm.
        centre_mm: where the translation is measured.

    Returns:
        Remaining translation (mm) along and rotation (degrees) about the world axes, (t, 3) each.
    """
    left = np.linalg.inv(true) @ estimated
    shift = left[:, :3, :3] @ centre_mm + left[:, :3, 3] - centre_mm
    return shift, np.degrees(Rotation.from_matrix(left[:, :3, :3]).as_rotvec())


def motion_rows(parameters: np.ndarray, true: np.ndarray, centre_mm: np.ndarray) -> Iterator[Row]:
    """Error of the head motion over all volumes but the reference, corrected and as if there were no correction.

    ``RMSE`` and ``max`` are those of the length of the error, ``WORST_AXIS_RMSE`` that of the axis with the largest.
    """
    estimates = {"": rigid_matrices(parameters, centre_mm), "_uncorrected": np.tile(np.eye(4), (len(true), 1, 1))}
    for suffix, estimate in estimates.items():
        errors = residual_motion(estimate[1:], true[1:], centre_mm)
        for metric, unit, error in zip(("translation", "rotation"), ("mm", "deg"), errors, strict=True):
            length = np.linalg.norm(error, axis=1)
            yield Row("head", metric + suffix, RMSE, root_mean_square(length), unit, len(error))
            yield Row("head", metric + suffix, "max", float(length.max()), unit, len(error))
            worst = max(root_mean_square(component) for component in error.T)
            yield Row("head", metric + suffix, WORST_AXIS_RMSE, worst, unit, len(error))


def displacement_rows(
    estimated_voxels: np.ndarray, true_voxels: np.ndarray, brain: np.ndarray, suffix: str
) -> Iterator[Row]:
    """Error of the displacement field in the brain; its constant part also apart.

    A constant displacement and a head that moved along the phase encoding between the two directions look alike: only
    ``RMSE`` of ``displacement_shape`` judges what opposed images can tell when the head moves.

    Args:
        estimated_voxels, true_voxels: displacement along the phase encoding, voxels, (x, y, z).
        brain: where they are compared.
        suffix: of the metric.
    """
    error, true = (estimated_voxels - true_voxels)[brain], true_voxels[brain]
    figures = {
        ("displacement", RMSE): root_mean_square(error),
        ("displacement", "bias"): float(error.mean()),
        ("displacement_shape", RMSE): float(error.std()),
        ("displacement_uncorrected", RMSE): root_mean_square(true),
        ("displacement_uncorrected", "max"): float(np.abs(true).max()),
    }
    for (metric, statistic), value in figures.items():
        yield Row("brain", f"{metric}_{suffix}", statistic, value, "voxel", int(brain.sum()))


def fa_error(maps: TensorMaps, true_fa: np.ndarray, region: np.ndarray) -> float:
    """RMSE of FA inside a region."""
    return root_mean_square_error(maps.fa[region], true_fa[region])


def direction_errors_deg(maps: TensorMaps, true_tensor: np.ndarray, true_fa, region: np.ndarray) -> np.ndarray:
    """Axial angle to the true principal direction, (n,) degrees, in voxels of a region that have a direction."""
    region = region & (true_fa > DIRECTION_MIN_FA)
    return axial_angle_deg(maps.direction[region].astype(float), principal_direction(true_tensor[region]))


def holds_brain(brain: np.ndarray, voxel_size_mm: np.ndarray) -> np.ndarray:
    """(slices,) True where a slice holds enough brain for a loss of signal to show."""
    return brain.sum(axis=(0, 1)) * voxel_size_mm[0] * voxel_size_mm[1] >= SLICE_BRAIN_MM2


def outlier_rows(found: np.ndarray, lost: np.ndarray, judged: np.ndarray) -> Iterator[Row]:
    """Sensitivity and precision of the detection of lost slices.

    Args:
        found: (t, slices) slices that were called outliers.
        lost: (t, slices) slices that lost signal.
        judged: (slices,) slices that hold brain; lost slices elsewhere need not be found.
    """
    hits, needed = (found & lost).sum(), (lost & judged).sum()
    sensitivity = (found & lost & judged).sum() / needed if needed else np.nan
    precision = hits / found.sum() if found.any() else np.nan
    yield Row("brain", "outlier_slices", "sensitivity", float(sensitivity), "1", int(needed))
    yield Row("brain", "outlier_slices", "precision", float(precision), "1", int(found.sum()))
