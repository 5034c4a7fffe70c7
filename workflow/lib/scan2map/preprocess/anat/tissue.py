"""Bias field and tissue fractions of a T1w image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.anat.brain import load_t1w
from scan2map.provenance import write_sidecar

TISSUES = ("CSF", "GM", "WM")
# Share of the brain's volume that each tissue can take in a living head; outside, the classification has failed.
TISSUE_SHARE = {"CSF": (0.02, 0.65), "GM": (0.20, 0.80), "WM": (0.10, 0.65)}
# Mixtures between neighbouring tissues are sampled at this many steps.
MIXTURE_STEPS = 4
HISTOGRAM_BINS = 400
# Tissue means start at these percentiles of the brain's intensities.
START_PERCENTILES = (8, 50, 90)
EM_ITERATIONS = 100
# Neighbouring means lie at least this many spreads apart; one tissue alone, split in three, gives about 1.5.
LEAST_SEPARATION = 2.0
# Each update moves a tissue's variance, and the share of a mixture, half way to their common mean: without it a narrow
# class can swallow a neighbour when the bias field is strong (measured on two T1w reconstructions of one scan).
POOLING = 0.5
# Spread of a pure tissue, at least this share of the contrast between CSF and WM (keeps a class from collapsing).
LEAST_SPREAD = 0.01


class TissueModel(NamedTuple):
    """Intensity model of a T1w brain.

    Attributes:
        means: (3,) mean intensity of CSF, GM, WM.
        spread: (3,) standard deviation of each pure tissue, intensity units.
        levels: (n,) intensities at which ``fractions`` is tabulated.
        fractions: (n, 3) expected tissue fractions of a voxel of that intensity.
    """

    means: np.ndarray
    spread: np.ndarray
    levels: np.ndarray
    fractions: np.ndarray


def correct_bias(image: Image, mask: np.ndarray, settings: dict, weight: np.ndarray | None = None) -> np.ndarray:
    """Remove the smooth intensity field of coil and transmit inhomogeneity (N4).

    Args:
        image: (x, y, z).
        mask: brain.
        settings: block ``anat.bias_field``.
        weight: confidence of each voxel (white-matter fraction), or None.

    Returns:
        Corrected intensities, (x, y, z).

    Source: Tustison et al. 2010, IEEE TMI 29:1310.
    """
    from scan2map.preprocess.registration import load_ants, to_ants

    shrink = max(1, round(settings["working_resolution_mm"] / float(image.voxel_size_mm.mean())))
    corrected = load_ants().n4_bias_field_correction(
        to_ants(image),
        mask=to_ants(Image(mask.astype(np.float32), image.affine)),
        weight_mask=None if weight is None else to_ants(Image(weight, image.affine)),
        shrink_factor=shrink,
        convergence={"iters": [settings["iterations"]] * 4, "tol": 1e-7},
        spline_param=float(settings["spline_distance_mm"]),
    )
    return corrected.numpy()


def fit_tissue_model(intensities: np.ndarray) -> TissueModel:
    """Fit a finite mixture of pure and partially filled voxels to the histogram of a brain.

    Three pure tissues, and steps of mixture between CSF and GM and between GM and WM: a voxel's mean and variance
    are the fraction-weighted ones of its tissues. Expectation-maximisation on the histogram; the tissue means follow
    by weighted least squares over all classes, the spreads from the pure ones.

    Args:
        intensities: (n,) T1w intensities inside the brain.

    Source: Santago and Gage 1993, IEEE TMI 12:566 (partial volume classes); Shattuck et al. 2001, NeuroImage 13:856
        (neighbouring tissues mix).
    """
    low, high = np.percentile(intensities, [0.05, 99.9])
    counts, edges = np.histogram(intensities, HISTOGRAM_BINS, range=(low, high))
    levels = (edges[1:] + edges[:-1]) / 2
    mixtures = _mixtures(MIXTURE_STEPS)
    means = np.percentile(intensities, START_PERCENTILES)
    spread, share = np.full(3, np.ptp(means) / 8), np.full(len(mixtures), 1 / len(mixtures))
    for _ in range(EM_ITERATIONS):
        weighted = counts[:, None] * _responsibilities(levels, mixtures, means, spread, share)
        share = _evened(weighted.sum(0) / counts.sum())
        means = _weighted_means(levels, weighted, mixtures, spread)
        spread = _pure_spread(levels, weighted, mixtures, means)
    return TissueModel(means, spread, levels, _responsibilities(levels, mixtures, means, spread, share) @ mixtures)


def tissue_fractions(intensities: np.ndarray, model: TissueModel) -> np.ndarray:
    """Expected fractions (n, 3) of CSF, GM and WM of voxels (n,); each row sums to 1."""
    columns = [np.interp(intensities, model.levels, model.fractions[:, tissue]) for tissue in range(3)]
    return np.stack(columns, axis=-1).astype(np.float32)


def segment(image: Image, mask: np.ndarray, settings: dict) -> tuple[np.ndarray, np.ndarray]:
    """Bias field and tissue fractions together: each pass weights the bias field by the white matter found so far.

    Args:
        image: T1w, (x, y, z).
        mask: brain.
        settings: block ``anat``.

    Returns:
        Corrected intensities (x, y, z) scaled to white matter = 1000, and fractions (x, y, z, 3) of CSF, GM, WM.

    Raises:
        DataError: the tissues cannot be told apart, or their shares are impossible.
    """
    fractions = np.zeros((*mask.shape, 3), dtype=np.float32)
    weight = None
    for _ in range(settings["bias_field"]["passes"]):
        corrected = correct_bias(image, mask, settings["bias_field"], weight)
        model = fit_tissue_model(corrected[mask])
        fractions[mask] = tissue_fractions(corrected[mask], model)
        weight = fractions[..., 2]
    check_contrast(model)
    check_shares(fractions[mask])
    return corrected * (1000 / model.means[2]), fractions


def check_contrast(model: TissueModel) -> None:
    """Stop unless the image tells the tissues apart.

    Raises:
        DataError: neighbouring means lie closer than ``LEAST_SEPARATION`` spreads.
    """
    means, spread = model.means, model.spread
    if (np.diff(means) < LEAST_SEPARATION * (spread[:-1] + spread[1:]) / 2).any():
        raise DataError(
            "The T1w image does not tell CSF, grey and white matter apart",
            found=f"mean intensities {np.round(means, 1).tolist()}, spreads {np.round(spread, 1).tolist()}",
            allowed="CSF < GM < WM, further apart than they are wide",
            remedy="look at the T1w image: is it T1-weighted, is its noise too high?",
        )


def check_shares(fractions: np.ndarray) -> dict[str, float]:
    """Stop unless each tissue takes a possible share of the brain.

    Args:
        fractions: (n, 3) of brain voxels.

    Returns:
        The share of each tissue.

    Raises:
        DataError: a share lies outside ``TISSUE_SHARE``.
    """
    shares = dict(zip(TISSUES, fractions.mean(0).tolist(), strict=True))
    for tissue, share in shares.items():
        low, high = TISSUE_SHARE[tissue]
        if not low <= share <= high:
            raise DataError(
                f"The {tissue} map is not plausible",
                found=f"{100 * share:.0f} % of the brain",
                allowed=f"{100 * low:.0f} to {100 * high:.0f} %",
                remedy="look at the T1w image: contrast, artefacts, field of view",
            )
    return shares


def discrete_segmentation(fractions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The tissue with the largest fraction: 1 CSF, 2 GM, 3 WM, 0 outside the mask."""
    return np.where(mask, 1 + fractions.argmax(-1), 0).astype(np.uint8)


def segment_tissue_files(t1w: Sequence, mask, settings: dict, *, preproc, csf, gm, wm, dseg) -> None:
    """Write the bias-corrected T1w image, the three tissue fractions and the discrete segmentation.

    Args:
        t1w: the session's T1w images.
        mask: brain mask.
        settings: block ``anat``.
        preproc, csf, gm, wm, dseg: output paths.
    """
    image, path = load_t1w(t1w)
    brain = load_image(mask)
    require_same_grid(image, brain, names=("T1w image", "brain mask"))
    inside = brain.data > 0
    corrected, fractions = segment(image, inside, settings)
    common = {"step": "segment_tissue", "sources": [path, mask], "settings": settings["bias_field"]}
    save_image(preproc, corrected, image.affine)
    write_sidecar(
        preproc, description="T1w image without bias field; white matter = 1000", units="arbitrary",
        SkullStripped=False, **common,
    )  # fmt: skip
    for index, (output, tissue) in enumerate(zip((csf, gm, wm), TISSUES, strict=True)):
        save_image(output, fractions[..., index], image.affine)
        write_sidecar(output, description=f"Volume fraction of {tissue}", units="1", **common)
    save_image(dseg, discrete_segmentation(fractions, inside), image.affine, dtype=np.uint8)
    write_sidecar(dseg, description="Tissue with the largest fraction", Labels={1: "CSF", 2: "GM", 3: "WM"}, **common)


def _mixtures(steps: int) -> np.ndarray:
    """Tissue fractions (n, 3) of every class, from CSF over GM to WM."""
    share = np.arange(steps) / steps
    first = np.stack([1 - share, share, 0 * share], axis=1)
    second = np.stack([0 * share, 1 - share, share], axis=1)
    return np.concatenate([first, second, [[0.0, 0.0, 1.0]]])


def _evened(share: np.ndarray) -> np.ndarray:
    """Shares of the classes, those of one pair's mixtures drawn towards their mean."""
    share = share.copy()
    for mixed in (slice(1, MIXTURE_STEPS), slice(MIXTURE_STEPS + 1, 2 * MIXTURE_STEPS)):
        share[mixed] = (1 - POOLING) * share[mixed] + POOLING * share[mixed].mean()
    return share


def _responsibilities(levels, mixtures, means, spread, share) -> np.ndarray:
    variance = mixtures @ spread**2
    log = np.log(share + 1e-300) - 0.5 * np.log(variance) - 0.5 * (levels[:, None] - mixtures @ means) ** 2 / variance
    belongs = np.exp(log - log.max(1, keepdims=True))
    return belongs / belongs.sum(1, keepdims=True)


def _weighted_means(levels, weighted, mixtures, spread) -> np.ndarray:
    precise = weighted / (mixtures @ spread**2)
    normal = (mixtures.T * precise.sum(0)) @ mixtures
    return np.linalg.solve(normal, mixtures.T @ (precise * levels[:, None]).sum(0))


def _pure_spread(levels, weighted, mixtures, means) -> np.ndarray:
    pure = mixtures.max(1) == 1
    squares = weighted[:, pure] * (levels[:, None] - means) ** 2
    weights = weighted[:, pure].sum(0)
    variance = squares.sum(0) / np.maximum(weights, 1e-9)
    pooled = (1 - POOLING) * variance + POOLING * squares.sum() / max(weights.sum(), 1e-9)
    return np.maximum(np.sqrt(pooled), LEAST_SPREAD * abs(means[2] - means[0]))
