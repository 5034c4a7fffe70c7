"""How good a diffusion scan is, in one row of numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from scan2map.derivative_tables import read_frame, write_frame
from scan2map.images import Image, load_image, require_same_grid
from scan2map.preprocess.dwi.dti import negative_share
from scan2map.preprocess.dwi.gradients import GradientTable, read_gradients
from scan2map.preprocess.dwi.tensor import design_matrix, tensor_volumes
from scan2map.preprocess.registration import apply_transform, load_transform
from scan2map.provenance import sidecar_path

SD_PER_MAD = 1.4826
# Ranges that a good scan of a living head stays in; beyond them somebody should look.
METRICS = {
    "mean_framewise_displacement": ("Mean head movement from volume to volume (Power et al. 2012)", "mm", "0 to 0.5"),
    "max_framewise_displacement": ("Largest head movement from one volume to the next", "mm", "0 to 3"),
    "outlier_slices": ("Share of diffusion-weighted slices whose signal was lost and replaced", "%", "0 to 5"),
    "b0_snr": ("Signal to noise of a b = 0 image: median over the robust spread between images", "1", "above 10"),
    "b0_variation_before": ("Median coefficient of variation of the b = 0 images before correction", "%", ""),
    "b0_variation_after": ("Median coefficient of variation of the b = 0 images after correction", "%", "0 to 12"),
    "cnr": ("Angular contrast to noise: spread of the tensor's signal over its residual", "1", "above 1"),
    "tensor_residual": ("Root mean square residual of the tensor fit over the median signal at b = 0", "%", "0 to 10"),
    "neighbour_correlation_before": ("Mean correlation of neighbouring directions, before", "1", ""),
    "neighbour_correlation_after": ("The same after correction", "1", "0.6 to 1"),
    "mask_dice": ("Overlap (Dice) of the brain masks of the diffusion scan and of the T1w image", "1", "0.85 to 1"),
    "negative_eigenvalues": ("Share of brain voxels whose tensor has a negative eigenvalue", "%", "0 to 2"),
    "fibre_coherence_ratio": ("Coherence of fibres over that of the best other b-table", "1", "above 1"),
    "volumes": ("Volumes of the merged series", "1", ""),
    "directions": ("Diffusion-weighted volumes", "1", "above 15"),
}  # fmt: skip
COLUMNS = {
    name: {"Description": meaning, "Units": unit, "TrustedRange": trusted}
    for name, (meaning, unit, trusted) in METRICS.items()
}


def b0_snr(b0: np.ndarray) -> float:
    """Median signal over the noise, from the spread of repeated images; NaN for a single image.

    Args:
        b0: (n, images) values in the brain.
    """
    count = b0.shape[1]
    if count < 2:
        return float("nan")
    deviation = (b0 - b0.mean(1, keepdims=True)) * np.sqrt(count / (count - 1))
    return float(np.median(b0) / max(SD_PER_MAD * np.median(np.abs(deviation)), 1e-12))


def b0_variation(b0: np.ndarray) -> float:
    """Median coefficient of variation over repeated images, percent; NaN for a single image."""
    if b0.shape[1] < 2:
        return float("nan")
    mean = np.maximum(b0.mean(1), 1e-6 * np.abs(b0).max())
    return float(100 * np.median(b0.std(1, ddof=1) / mean))


def nearest_directions(gradients: GradientTable) -> list[tuple[int, int]]:
    """Each weighted volume with the one of its shell whose direction is nearest (v and -v are the same)."""
    pairs = []
    for shell in np.unique(gradients.shells[~gradients.is_b0]):
        members = np.flatnonzero(gradients.shells == shell)
        closeness = np.abs(gradients.b_vectors[members] @ gradients.b_vectors[members].T)
        np.fill_diagonal(closeness, -1)
        if len(members) > 1:
            pairs += list(zip(members.tolist(), members[closeness.argmax(1)].tolist(), strict=True))
    return pairs


def neighbour_correlation(values: np.ndarray, gradients: GradientTable) -> float:
    """Mean correlation of images of neighbouring directions (Yeh et al. 2019, NeuroImage 202:116131).

    Args:
        values: (n, t) values in the brain.
        gradients: table of the t volumes.
    """
    pairs = nearest_directions(gradients)
    correlations = [np.corrcoef(values[:, first], values[:, second])[0, 1] for first, second in pairs]
    return float(np.mean(correlations)) if correlations else float("nan")


def tensor_agreement(values: np.ndarray, gradients: GradientTable, tensor: np.ndarray, s0: np.ndarray, affine):
    """How well the tensor explains the volumes that it was fitted to.

    Args:
        values: (n, t) values in the brain.
        gradients: table of the t volumes.
        tensor: (n, 6), mm2/s.
        s0: (n,).
        affine: of the grid.

    Returns:
        Angular contrast to noise (median over voxels) and residual (percent of the median b = 0 signal).
    """
    design = design_matrix(gradients.b_values, gradients.world_directions(affine))
    predicted = s0[:, None] * np.exp(np.clip(tensor @ design[:, :6].T, -20, 5))
    weighted = ~gradients.is_b0
    residual = (values - predicted)[:, weighted]
    spread = predicted[:, weighted].std(1)
    noise = np.sqrt((residual**2).mean(1))
    contrast = float(np.median(spread / np.maximum(noise, 1e-12)))
    return contrast, float(100 * np.sqrt((residual**2).mean()) / np.median(values[:, ~weighted]))


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks, 2 |A and B| / (|A| + |B|)."""
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))


def assess_dwi(files: dict, settings: dict, *, metrics) -> None:
    """Write the quality row of a diffusion scan.

    Args:
        files: paths ``merged_dwi``, ``merged_bval``, ``merged_bvec``, ``dwi``, ``bval``, ``bvec``, ``motion``,
            ``outliers``, ``mask``, ``tensor``, ``S0``, ``FA``; ``transform`` and ``t1w_mask``, empty where the session
            has no T1w image.
        settings: block ``dwi``.
        metrics: output path (.tsv); its data dictionary is written beside it.
    """
    brain = load_image(files["mask"])
    before, after = (_series(files, prefix, settings, brain) for prefix in ("merged_", ""))
    row = {**_image_metrics(before, after), **_table_metrics(files, after[1])}
    row |= _tensor_metrics(files, settings, brain, after)
    row |= {"mask_dice": _mask_dice(files, brain), "volumes": len(after[1]), "directions": int((~after[1].is_b0).sum())}
    frame = pd.DataFrame([row], columns=list(COLUMNS))
    sources = [str(path) for path in files.values() if path]
    write_frame(
        metrics, frame, COLUMNS, step="assess_dwi", description="Quality of the diffusion scan", sources=sources
    )


def _series(files: dict, prefix: str, settings: dict, brain: Image) -> tuple[np.ndarray, GradientTable]:
    image = load_image(files[f"{prefix}dwi"])
    require_same_grid(image, brain, names=("the diffusion series", "its brain mask"))
    bval, bvec = files[f"{prefix}bval"], files[f"{prefix}bvec"]
    gradients = read_gradients(bval, bvec, image.data.shape[3], settings["b0_threshold_s_per_mm2"])
    return image.data[brain.data > 0], gradients


def _image_metrics(before, after) -> dict[str, float]:
    row = {"b0_snr": b0_snr(after[0][:, after[1].is_b0])}
    for stage, (values, gradients) in (("before", before), ("after", after)):
        row[f"b0_variation_{stage}"] = b0_variation(values[:, gradients.is_b0])
        row[f"neighbour_correlation_{stage}"] = neighbour_correlation(values, gradients)
    return row


def _table_metrics(files: dict, gradients: GradientTable) -> dict[str, float]:
    displacement = read_frame(files["motion"], ("framewise_displacement",))["framewise_displacement"]
    slices = read_frame(files["outliers"], ("volume", "outlier"))
    weighted = slices["volume"].isin(np.flatnonzero(~gradients.is_b0))
    return {
        "mean_framewise_displacement": float(displacement[1:].mean()),
        "max_framewise_displacement": float(displacement[1:].max()),
        "outlier_slices": float(100 * (slices["outlier"][weighted] == "yes").mean()),
    }


def _tensor_metrics(files: dict, settings: dict, brain: Image, after) -> dict[str, float]:
    values, gradients = after
    inside = brain.data > 0
    tensor, s0 = load_image(files["tensor"]).data, load_image(files["S0"]).data
    used = tensor_volumes(gradients, settings["tensor"]["max_b_value_s_per_mm2"])
    contrast, residual = tensor_agreement(
        values[:, used], gradients.take(used), tensor[inside], s0[inside], brain.affine
    )
    facts = json.loads(sidecar_path(files["FA"]).read_text())
    coherence, other = facts.get("FibreCoherence", np.nan), facts.get("FibreCoherenceOfBestOtherTable", np.nan)
    return {
        "cnr": contrast,
        "tensor_residual": residual,
        "negative_eigenvalues": 100 * negative_share(tensor, inside),
        "fibre_coherence_ratio": float(coherence / other) if other else float("nan"),
    }


def _mask_dice(files: dict, brain: Image) -> float:
    if not files["t1w_mask"]:
        return float("nan")
    transform = load_transform(files["transform"]).inverse()
    anatomical = apply_transform(load_image(files["t1w_mask"]), brain, transform, "mean").data > 0.5
    return dice(brain.data > 0, anatomical)
