"""How far a predicted tensor image is from the true one, per region.

References:
    [1] Arsigny et al. 2006, Magn Reson Med 56:411 (log-Euclidean distance).
    [2] Wang et al. 2004, IEEE TIP 13:600 (structural similarity).
    [3] Heusel et al. 2017, NeurIPS 6626 (Fréchet distance of features).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from scan2map.physics.diffusion import TensorScalars, principal_direction, tensor_matrix, tensor_scalars
from scan2map.systems.bssfp_dti.representation import DIAGONAL, OFF_DIAGONAL

TINY = 1e-6
PERCENTILES = (1, 25, 75, 99)
SCALAR_RANGE = {"fa": 1.0, "md": 3.0}  # of PSNR and SSIM; MD in 1e-3 mm²/s
ANGLE_UNIT = "degrees"
SSIM_WINDOW = 7


def axial_angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle between two axes (n, 3), 0 to 90 degrees: arccos |v·v′|."""
    return np.degrees(np.arccos(np.clip(np.abs((first * second).sum(-1)), 0, 1)))


def inclination_azimuth_deg(axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle of axes (n, 3) to the third grid axis (0 to 90) and in the plane across it (0 to 180), degrees."""
    upright = np.where(axes[:, 2:] < 0, -axes, axes)
    inclination = np.degrees(np.arccos(np.clip(upright[:, 2], 0, 1)))
    return inclination, np.degrees(np.arctan2(upright[:, 1], upright[:, 0])) % 180


def with_inclination(axes: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Axes (n, 3) tilted, at their own azimuth, to the angle that the true axes (n, 3) have to the third grid axis."""
    upright = np.where(axes[:, 2:] < 0, -axes, axes)
    across = upright[:, :2] / np.maximum(np.linalg.norm(upright[:, :2], axis=1, keepdims=True), TINY)
    cosine = np.abs(true[:, 2:])
    return np.hstack([across * np.sqrt(np.clip(1 - cosine**2, 0, 1)), cosine])


def folded(difference_deg: np.ndarray) -> np.ndarray:
    """Absolute difference of two azimuths of axes, folded to 0 to 90 degrees."""
    turned = np.abs(difference_deg) % 180
    return np.minimum(turned, 180 - turned)


def log_matrices(tensors: np.ndarray) -> np.ndarray:
    """Matrix logarithms (n, 3, 3) of tensors (n, 6), eigenvalues clipped where they are not positive."""
    values, vectors = np.linalg.eigh(tensor_matrix(tensors.astype(float)))
    return (vectors * np.log(np.maximum(values, TINY))[:, None, :]) @ np.swapaxes(vectors, 1, 2)


def nrmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """Root mean square error relative to the standard deviation of the truth, mean over elements (n, elements)."""
    spread = true.std(0)
    return float(np.mean(np.sqrt(((predicted - true) ** 2).mean(0)) / np.maximum(spread, TINY)))


def relative(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """|p − t| / |t| per voxel."""
    return np.abs(predicted - true) / np.maximum(np.abs(true), TINY)


def distribution(name: str, values: np.ndarray, unit: str) -> Iterator[tuple[str, float, str]]:
    """Median under the name itself; percentiles, mean and standard deviation under names of their own."""
    yield name, float(np.median(values)), unit
    for percentile in PERCENTILES:
        yield f"{name}_p{percentile}", float(np.percentile(values, percentile)), unit
    yield f"{name}_mean", float(values.mean()), unit
    yield f"{name}_sd", float(values.std()), unit


class Decomposed(NamedTuple):
    """Tensors of the voxels of a brain with what their errors are made of, worked out once for all regions.

    Attributes:
        elements: (n, 6), 1e-3 mm²/s.
        scalars: FA, MD, AD, RD.
        direction: principal axis (n, 3).
        logarithm: (n, 3, 3).
    """

    elements: np.ndarray
    scalars: TensorScalars
    direction: np.ndarray
    logarithm: np.ndarray

    def within(self, region: np.ndarray) -> Decomposed:
        """The voxels of a region, boolean (n,)."""
        scalars = TensorScalars(*(values[region] for values in self.scalars))
        return Decomposed(self.elements[region], scalars, self.direction[region], self.logarithm[region])


def decompose(elements: np.ndarray) -> Decomposed:
    """Scalars, direction and logarithm of tensors (n, 6), 1e-3 mm²/s."""
    exact = elements.astype(float)
    return Decomposed(exact, tensor_scalars(exact), principal_direction(exact), log_matrices(exact))


def tensor_errors(predicted: Decomposed, true: Decomposed, direction_fa: float) -> Iterator[tuple[str, float, str]]:
    """All errors of the tensors of a region: name, value, unit.

    Args:
        predicted, true: of the same voxels.
        direction_fa: true FA above which directions are compared.
    """
    found, wanted = predicted.scalars, true.scalars
    for name in ("fa", "md", "ad", "rd"):
        yield from distribution(f"{name}_relative_error", relative(getattr(found, name), getattr(wanted, name)), "1")
    yield "fa_absolute_error", float(np.median(np.abs(found.fa - wanted.fa))), "1"
    for name, elements in (("diagonal", DIAGONAL), ("off_diagonal", OFF_DIAGONAL)):
        yield f"nrmse_{name}", nrmse(predicted.elements[:, elements], true.elements[:, elements]), "1"
    difference = np.linalg.norm(tensor_matrix(predicted.elements - true.elements), axis=(1, 2))
    yield from distribution("frobenius_error", difference, "1e-3 mm2/s")
    distance = np.linalg.norm(predicted.logarithm - true.logarithm, axis=(1, 2))
    yield from distribution("log_euclidean_error", distance, "1")
    directed = wanted.fa > direction_fa
    if directed.any():
        yield from _directions(predicted.direction[directed], true.direction[directed])


def _directions(found: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[str, float, str]]:
    yield from distribution("axial_angle", axial_angle_deg(found, wanted), ANGLE_UNIT)
    pairs = zip(inclination_azimuth_deg(found), inclination_azimuth_deg(wanted), strict=True)
    (inclination, true_inclination), (azimuth, true_azimuth) = pairs
    yield "inclination_error", float(np.median(np.abs(inclination - true_inclination))), ANGLE_UNIT
    yield "azimuth_error", float(np.median(folded(azimuth - true_azimuth))), ANGLE_UNIT
    yield "document_inclination", float(np.median(relative(inclination, true_inclination))), "1"
    yield "document_azimuth", float(np.median(relative(azimuth, true_azimuth))), "1"


def document_errors(
    predicted: np.ndarray, true: np.ndarray, constants: Mapping[str, list[float]]
) -> Iterator[tuple[str, float, str]]:
    """The document's relative errors, of elements scaled to 0 to 1: small numbers, as the scaling adds a constant.

    Args:
        predicted, true: (n, 6), 1e-3 mm²/s.
        constants: lowest and highest ``diagonal`` and ``off_diagonal`` element of the training part.
    """
    for name, elements in (("diagonal", DIAGONAL), ("off_diagonal", OFF_DIAGONAL)):
        low, high = constants[name]
        scaled = [(tensors[:, elements] - low) / (high - low) for tensors in (predicted, true)]
        yield f"document_{name}", float(np.median(relative(*scaled))), "1"


def image_quality(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray) -> Iterator[tuple[str, float, str]]:
    """PSNR and SSIM [2] of FA and MD inside the brain.

    Args:
        predicted, true: (6, x, y, z), 1e-3 mm²/s.
        mask: (x, y, z).
    """
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    found, wanted = (tensor_scalars(np.moveaxis(tensors, 0, -1)) for tensors in (predicted, true))
    for name, span in SCALAR_RANGE.items():
        first, second = (getattr(scalars, name) * mask for scalars in (found, wanted))
        error = float(((first - second)[mask] ** 2).mean())
        yield f"{name}_psnr", 10 * np.log10(span**2 / max(error, TINY**2)), "dB"
        pair = (torch.from_numpy(image.astype(np.float32))[None, None] for image in (first, second))
        _, local = structural_similarity_index_measure(
            *pair, gaussian_kernel=False, kernel_size=SSIM_WINDOW, data_range=span, return_full_image=True
        )
        yield f"{name}_ssim", float(local[0, 0].numpy()[mask].mean()), "1"


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Fréchet distance of two sets of features (n, f), (m, f) taken as normal distributions [3].

    |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½); the eigenvalues of C₁ C₂ are real and not negative.
    """
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum()
    one, two = (np.cov(features, rowvar=False) for features in (first, second))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(one @ two).real, 0))
    return float(shift + np.trace(one) + np.trace(two) - 2 * roots.sum())
