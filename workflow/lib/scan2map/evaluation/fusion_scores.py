"""What a fused image keeps of its sources, and what it adds: structure, bone, information, edges, seams.

Images are (x, y, z) on one scale from −2 to 2 (``preprocess.ctmr``); slices are axial, so that structure, edges and
seams are measured within slices, whose distance is several times the voxel's edge.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scan2map.errors import DataError
from scan2map.preprocess.ctmr.register import entropies

DATA_RANGE = 4.0  # −2 to 2: fixed, not what an image happens to span
SSIM_SIGMA, SSIM_RADIUS, SSIM_K1, SSIM_K2 = 1.5, 5, 0.01, 0.03
INFORMATION_BINS = 64
# Xydeas and Petrovic 2000, Electronics Letters 36:308: strength and orientation sigmoids.
STRENGTH, ORIENTATION = (0.9994, -15.0, 0.5), (0.9879, -22.0, 0.8)


def _smooth(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values, (SSIM_SIGMA, SSIM_SIGMA, 0), radius=(SSIM_RADIUS, SSIM_RADIUS, 0))


def structural_similarity(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Structural similarity around every voxel within its slice (Gaussian window, sigma 1.5 voxels), −1 to 1.

    Args:
        first, second: images (x, y, z).
        mask: only these voxels count in the windows, so that a region is judged by itself at its border, too.

    Source: Wang et al. 2004, IEEE TIP 13:600, eq. 13, population variances.
    """
    inside = np.ones(first.shape) if mask is None else np.asarray(mask, dtype=float)
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    one, two = (SSIM_K1 * DATA_RANGE) ** 2, (SSIM_K2 * DATA_RANGE) ** 2
    share = np.maximum(_smooth(inside), 1e-6)

    def local(values: np.ndarray) -> np.ndarray:
        return _smooth(values * inside) / share

    mean_a, mean_b = local(first), local(second)
    spread = local(first**2) - mean_a**2 + local(second**2) - mean_b**2
    shared = local(first * second) - mean_a * mean_b
    return (2 * mean_a * mean_b + one) * (2 * shared + two) / ((mean_a**2 + mean_b**2 + one) * (spread + two))


def ssim_inside(fused: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """Mean of :func:`structural_similarity` over a mask, in windows that see the mask only."""
    return float(structural_similarity(fused, source, mask)[_voxels(mask)].mean())


def psnr_inside(fused: np.ndarray, source: np.ndarray, mask: np.ndarray) -> float:
    """10 log10(range² / mean squared difference) over a mask, dB, with the fixed range; infinite where both agree."""
    error = float(((np.asarray(fused, dtype=float) - source)[_voxels(mask)] ** 2).mean())
    return float(10 * np.log10(DATA_RANGE**2 / error)) if error else float("inf")


def shared_information(fused: np.ndarray, first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Mutual information with one source plus that with the other, over a mask, nats."""
    inside = _voxels(mask)
    parts = (entropies(fused[inside], source[inside], INFORMATION_BINS) for source in (first, second))
    return sum(one + other - both for one, other, both in parts)


def _gradient(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength and orientation (radians, −π/2 to π/2) of Sobel's gradient within slices."""
    values = np.asarray(values, dtype=float)
    along_x, along_y = (
        ndimage.convolve1d(ndimage.convolve1d(values, [1, 0, -1], axis=across), [1, 2, 1], axis=along)
        for across, along in ((0, 1), (1, 0))
    )
    return np.hypot(along_x, along_y), np.arctan(np.divide(along_y, along_x, where=along_x != 0, out=_upright(along_y)))


def _upright(along_y: np.ndarray) -> np.ndarray:
    """What the ratio of the gradient's parts is where the first is 0."""
    return np.where(along_y == 0, 0.0, np.inf)


def _sigmoid(values: np.ndarray, constants: tuple[float, float, float]) -> np.ndarray:
    top, slope, middle = constants
    return top / (1 + np.exp(slope * (values - middle)))


def _kept(source: tuple, fused: tuple) -> np.ndarray:
    """How much of each edge of a source the fused image keeps, 0 to 1."""
    weaker, stronger = np.minimum(source[0], fused[0]), np.maximum(source[0], fused[0])
    strength = np.divide(weaker, stronger, where=stronger > 0, out=np.ones_like(weaker))
    orientation = np.abs(np.abs(source[1] - fused[1]) - np.pi / 2) / (np.pi / 2)
    return _sigmoid(strength, STRENGTH) * _sigmoid(orientation, ORIENTATION)


def edges_kept(fused: np.ndarray, first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Q^AB/F: edges of both sources that the fused image keeps, weighted by their strength; at most 0.975.

    Source: Xydeas and Petrovic 2000, Electronics Letters 36:308.
    """
    inside = _voxels(mask)
    result, sources = _gradient(fused), [_gradient(first), _gradient(second)]
    total = sum(source[0][inside].sum() for source in sources)
    if not total:
        raise DataError("Two images without edges have none to keep", found="constant images")
    return float(sum((_kept(source, result) * source[0])[inside].sum() for source in sources) / total)


def seam_gradient(fused: np.ndarray, first: np.ndarray, second: np.ndarray, roi: np.ndarray) -> float:
    """Edges at the border of a region that neither source has: mean excess of the gradient, units per voxel.

    Args:
        fused, first, second: images.
        roi: mask; its border is one voxel to either side, within the slices.
    """
    plane = np.zeros((3, 3, 3), dtype=bool)
    plane[:, 1, 1] = plane[1, :, 1] = True
    border = ndimage.binary_dilation(roi, plane) & ~ndimage.binary_erosion(roi, plane, border_value=1)
    slopes = [np.hypot(*np.gradient(np.asarray(image, dtype=float), axis=(0, 1))) for image in (fused, first, second)]
    return float(np.maximum(slopes[0] - np.maximum(slopes[1], slopes[2]), 0)[_voxels(border)].mean())


def _voxels(mask: np.ndarray) -> np.ndarray:
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        raise DataError("A score needs voxels", found="an empty mask", remedy="check the masks of this session")
    return inside


def fusion_scores(fused, mri, bone_ct, brain: np.ndarray, bone: np.ndarray) -> dict[str, float]:
    """Every score of one fused image by name.

    Args:
        fused, mri: on the scale of ``preprocess.ctmr``.
        bone_ct: CT in the bone window.
        brain, bone: masks.
    """
    head = np.asarray(brain, dtype=bool) | np.asarray(bone, dtype=bool)
    return {
        "brain_ssim": ssim_inside(fused, mri, brain),
        "bone_psnr": psnr_inside(fused, bone_ct, bone),
        "mutual_information": shared_information(fused, mri, bone_ct, head),
        "qabf": edges_kept(fused, mri, bone_ct, head),
        "seam_gradient": seam_gradient(fused, mri, bone_ct, bone),
    }
