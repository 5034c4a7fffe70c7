"""How good a perfusion map is, in numbers."""

from __future__ import annotations

import numpy as np

from scan2map.provenance import write_sidecar

# A voxel belongs to a tissue from this fraction on.
TISSUE_FRACTION = 0.7
LEAST_VOXELS = 20
# Huber's loss: linear beyond this many robust standard deviations (95 % efficiency for Gaussian noise).
HUBER_LIMIT = 1.345
REGRESSION_ITERATIONS = 30
LEAST_MISFIT = 1e-6  # ml/100g/min: below, a fit is perfect
QEI_SMOOTHING_FWHM_MM = 5.0

# name: (meaning, unit, range in which a map deserves trust)
DICTIONARY = {
    "qei": ("Quality evaluation index (Dolui et al. 2017)", "1", "0.5 to 1"),
    "gm_cbf": ("CBF of pure grey matter, robust regression on the tissue fractions", "ml/100g/min", "30 to 100"),
    "wm_cbf": ("CBF of pure white matter, robust regression on the tissue fractions", "ml/100g/min", "8 to 40"),
    "gm_wm_ratio": ("Grey to white matter CBF, of the two above", "1", "1.5 to 5"),
    "gm_cbf_median": ("Median CBF of voxels with at least 70 % grey matter", "ml/100g/min", "30 to 100"),
    "gm_asymmetry": (
        "CBF of pure grey matter, right minus left over their mean (hemispheres of the MNI152 template)",
        "%",
        "-15 to 15",
    ),
    "negative_gm_fraction": ("Share of voxels with at least 70 % grey matter and negative CBF", "1", "0 to 0.1"),
    "spatial_cov": (
        "Spatial coefficient of variation of CBF in grey matter (Mutsaerts et al. 2017)",
        "1",
        "0.2 to 0.7",
    ),
    "deltam_tsnr": (
        "Mean over standard deviation of the differences over time, median in grey matter",
        "1",
        "above 0.5",
    ),
    "pairs_used": ("Control-label pairs that were averaged", "1", ""),
    "pairs_acquired": ("Control-label pairs that were acquired", "1", ""),
    "mean_framewise_displacement": ("Mean head movement from volume to volume (Power et al. 2012)", "mm", "0 to 0.5"),
    "registration_overlap": (
        "Overlap (Dice) of the brain in the M0 image and in the registered T1w image",
        "1",
        "0.9 to 1",
    ),
    "boundary_cost": ("Cost of the registration on the edge of white matter (Greve and Fischl 2009)", "1", "0 to 0.8"),
    "brain_coverage": (
        "Share of the grey and white matter of the grid that lies in the ASL brain mask",
        "1",
        "0.9 to 1",
    ),
}


def pure_tissue_cbf(cbf: np.ndarray, mask: np.ndarray, tissues: dict[str, np.ndarray]) -> dict[str, float]:
    """Perfusion of pure grey and white matter: robust regression of CBF on their fractions over the brain.

    Coarse voxels hardly ever hold one tissue alone; the regression needs none that do. CSF is not perfused. Huber's
    loss keeps vessels and artefacts at the edge of the brain from leading.

    Returns:
        ml/100g/min by ``GM`` and ``WM``.
    """
    design = np.stack([tissues["GM"][mask], tissues["WM"][mask]], axis=1).astype(float)
    values, weight = cbf[mask].astype(float), np.ones(int(mask.sum()))
    for _ in range(REGRESSION_ITERATIONS):
        solution = np.linalg.lstsq(design * np.sqrt(weight)[:, None], values * np.sqrt(weight), rcond=None)[0]
        misfit = np.abs(values - design @ solution)
        limit = max(HUBER_LIMIT * 1.4826 * float(np.median(misfit)), LEAST_MISFIT)
        weight = np.minimum(1, limit / np.maximum(misfit, LEAST_MISFIT))
    return {"GM": float(solution[0]), "WM": float(solution[1])}


def asymmetry(cbf: np.ndarray, mask: np.ndarray, tissues: dict[str, np.ndarray], right: np.ndarray) -> float:
    """Right minus left perfusion of pure grey matter over their mean, per cent; NaN where a hemisphere has none.

    Args:
        cbf: (x, y, z) ml/100g/min.
        mask: brain.
        tissues: fractions of GM and WM.
        right: True in the right hemisphere, (x, y, z).
    """
    sides = [mask & right, mask & ~right]
    if min((side & (tissues["GM"] >= TISSUE_FRACTION)).sum() for side in sides) < LEAST_VOXELS:
        return float("nan")
    first, second = (pure_tissue_cbf(cbf, side, tissues)["GM"] for side in sides)
    return 200 * (first - second) / (first + second)


def quality_evaluation_index(cbf: np.ndarray, tissues: dict[str, np.ndarray], mask: np.ndarray, voxel_mm) -> float:
    """Quality evaluation index, 0 (useless) to 1: structural similarity, spatial spread, negative grey matter.

    QEI = ∛[(1 − e^(−3.0126 ρ^2.4419)) · e^(−0.054 D^0.9272) · e^(−2.8478 n^0.5196)] with ρ the correlation with
    2.5 GM + WM (0 if negative), D the pooled variance within tissues over the mean grey-matter CBF, n the share of
    negative grey matter, of the map smoothed with 5 mm.

    Args:
        cbf: (x, y, z) ml/100g/min.
        tissues: fractions of GM, WM, CSF.
        mask: brain.
        voxel_mm: voxel size, (3,).

    Returns:
        The index; NaN where no voxel is mostly grey matter.

    Source: Dolui et al. 2017, ISMRM 25:0682 ("Automated quality evaluation index for 2D ASL CBF maps").
    """
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(cbf, QEI_SMOOTHING_FWHM_MM / 2.3548 / np.asarray(voxel_mm))
    groups = [smooth[mask & (tissues[name] >= TISSUE_FRACTION)] for name in ("GM", "WM", "CSF")]
    grey = groups[0]
    if grey.size < LEAST_VOXELS:
        return float("nan")
    likeness = np.corrcoef(smooth[mask], (2.5 * tissues["GM"] + tissues["WM"])[mask])[0, 1]
    freedom = [group.size - 1 for group in groups if group.size > 1]
    variance = np.average([group.var(ddof=1) for group in groups if group.size > 1], weights=freedom)
    dispersion, negative = variance / abs(grey.mean()), (grey < 0).mean()
    likely = 1 - np.exp(-3.0126 * max(likeness, 0) ** 2.4419)
    return float(np.cbrt(likely * np.exp(-0.054 * dispersion**0.9272) * np.exp(-2.8478 * negative**0.5196)))


def temporal_snr(images: np.ndarray, gm: np.ndarray) -> float:
    """Mean over standard deviation of the difference images, median over grey matter; NaN below three images."""
    if images.shape[-1] < 3 or not gm.any():
        return float("nan")
    values = images[gm]
    spread = values.std(-1, ddof=1)
    return float(np.median(values.mean(-1) / np.maximum(spread, 1e-12)))


def quality_metrics(cbf, images, kept, mask, tissues, affine, right, displacement_mm, registration) -> dict[str, float]:
    """One row of quality metrics (``DICTIONARY``).

    Args:
        cbf: (x, y, z) ml/100g/min.
        images: (x, y, z, n) difference images.
        kept: (n,) which of them were averaged.
        mask: brain.
        tissues: fractions of GM, WM, CSF.
        affine: of the grid.
        right: True in the right hemisphere.
        displacement_mm: framewise displacement of every volume.
        registration: sidecar of the transform to the T1w image (``MaskOverlap``, ``BoundaryCost``).
    """
    gm = mask & (tissues["GM"] >= TISSUE_FRACTION)
    enough = gm.sum() >= LEAST_VOXELS
    grey = cbf[gm] if enough else np.array([np.nan])
    pure = pure_tissue_cbf(cbf, mask, tissues)
    tissue = tissues["GM"] + tissues["WM"]
    return {
        "qei": quality_evaluation_index(cbf, tissues, mask, np.linalg.norm(affine[:3, :3], axis=0)),
        "gm_cbf": pure["GM"],
        "wm_cbf": pure["WM"],
        "gm_wm_ratio": pure["GM"] / pure["WM"] if pure["WM"] > 0 else float("nan"),
        "gm_asymmetry": asymmetry(cbf, mask, tissues, right),
        "gm_cbf_median": float(np.median(grey)),
        "negative_gm_fraction": float((grey < 0).mean()) if enough else float("nan"),
        "spatial_cov": float(grey.std() / grey.mean()) if enough else float("nan"),
        "deltam_tsnr": temporal_snr(images[..., kept], gm),
        "pairs_used": int(np.sum(kept)),
        "pairs_acquired": len(kept),
        "mean_framewise_displacement": float(np.mean(displacement_mm)),
        "registration_overlap": registration["MaskOverlap"],
        "boundary_cost": registration["BoundaryCost"],
        "brain_coverage": float(tissue[mask].sum() / max(float(tissue.sum()), 1e-9)),
    }


def save_metrics(path, metrics: dict[str, float], *, step: str) -> None:
    """Write one row of metrics (TSV) and their data dictionary (JSON)."""
    import pandas as pd

    pd.DataFrame([metrics]).round(5).to_csv(path, sep="\t", index=False, na_rep="n/a")
    columns = {
        name: {"Description": meaning, "Units": unit, "TrustedRange": trusted}
        for name, (meaning, unit, trusted) in DICTIONARY.items()
    }
    write_sidecar(path, step=step, description="Quality of the perfusion map, one row", **columns)
