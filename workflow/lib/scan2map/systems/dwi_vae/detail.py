"""The price of smoothness: contrast of small lesions, width of an edge. The same noise with and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scan2map.evaluation.edges import edge_width
from scan2map.systems.dwi_vae.estimators import Estimator
from scan2map.systems.dwi_vae.least_squares import fit_voxels
from scan2map.systems.dwi_vae.prediction import predict_scan
from scan2map.systems.dwi_vae.scans import Scan
from scan2map.systems.dwi_vae.simulate import TISSUE_NAMES, simulate_scan

DETAIL_SNR = (5.0, 20.0)
# Change of D (mm²/s) and K in a lesion, from white matter; its edge lengths in voxels.
LESION, LESION_VOXELS = (0.35e-3, -0.35), (1, 2)
LESIONS = 40
EDGE = ((1.2e-3, 1.4), (0.8e-3, 0.9))  # D (mm²/s) and K on both sides
NEAR_EDGE = 6  # voxels on each side
SEED = 9_173


def lesion_voxels(mask: np.ndarray, label: np.ndarray, edge: int) -> np.ndarray:
    """Brain voxels (n,) inside cubes of ``edge`` voxels around random white-matter voxels, as a mask."""
    white = np.flatnonzero(label == TISSUE_NAMES.index("WM"))
    chosen = np.random.default_rng(SEED).choice(white, min(LESIONS, len(white)), replace=False)
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(len(label))
    corner = np.argwhere(mask)[chosen]
    found = np.zeros(len(label), bool)
    for step in np.ndindex(edge, edge, edge):
        places = np.minimum(corner + step, np.array(mask.shape) - 1)
        inside = number[tuple(places.T)]
        found[inside[inside >= 0]] = True
    return found


def _estimates(scan: Scan, members: Sequence[Estimator], inside: np.ndarray, samples: int) -> dict[str, np.ndarray]:
    """D and K (m, 2) of each method in the voxels of a mask (n,), the networks' one after another: (members, m, 2)."""
    index = torch.from_numpy(np.flatnonzero(inside))
    networks = [predict_scan([member], scan, samples, index).tissue for member in members]
    found = {"network": networks, "nlls": [fit_voxels(scan.model, scan.voxels.take(index), "gaussian").tissue]}
    return {name: np.array([one.values[:, 1:3].numpy() for one in tissues]) for name, tissues in found.items()}


def _scan(arrays: Mapping, facts: Mapping, settings: Mapping[str, Any], snr: float, msdki: np.ndarray) -> Scan:
    changed = {**settings, "simulation": {**settings["simulation"], "snr": snr, "source": "head"}}
    return simulate_scan({**arrays, "msdki": msdki.astype(np.float32)}, facts, changed)


def _rows(subject: str, condition: str, metric: str, values: Mapping[str, Any], unit: str, n: int) -> Iterator[dict]:
    for method, pair in values.items():
        for name, value in zip(("D", "K"), pair, strict=True):
            names = {"subject": subject, "method": method, "condition": condition, "roi": "WM"}
            yield {**names, "metric": f"{name}_{metric}", "value": float(value), "unit": unit, "n": n}


def detail_rows(members: Sequence[Estimator], path: Path, settings: Mapping[str, Any]) -> Iterator[dict]:
    """Contrast recovery of lesions (change of the estimate over change of the truth) and the width of an edge.

    Args:
        members: networks; every number is the mean over them.
        path: data-set file of a head.
        settings: the system's settings.
    """
    from scan2map.training.dataset import load_subject

    arrays, facts = load_subject(path)
    samples, subject = settings["evaluation"]["samples"], Path(path).stem
    for snr in DETAIL_SNR:
        clean = arrays["msdki"].astype(float)
        before = _scan(arrays, facts, settings, snr, clean)
        for edge in LESION_VOXELS:
            inside = lesion_voxels(arrays["mask"].astype(bool), arrays["label"], edge)
            after = _scan(arrays, facts, settings, snr, clean + inside[:, None] * LESION)
            pair = [_estimates(scan, members, inside, samples) for scan in (before, after)]
            recovered = {name: (pair[1][name] - pair[0][name]).mean((0, 1)) / LESION for name in pair[1]}
            size = f"lesion {edge * facts['data']['voxel_size_mm']:g} mm:snr={snr:g}"
            yield from _rows(subject, size, "recovery", recovered, "1", int(inside.sum()))
        yield from _edge_rows(arrays, facts, settings, snr, members, subject)


def _edge_rows(arrays, facts, settings, snr: float, members: Sequence[Estimator], subject: str) -> Iterator[dict]:
    """A plane through the brain with one tissue on each side; widths from mean profiles across it."""
    place = np.argwhere(arrays["mask"])[:, 0] - arrays["mask"].shape[0] // 2
    sides = np.where((place < 0)[:, None], *EDGE)
    inside = (place >= -NEAR_EDGE) & (place < NEAR_EDGE)
    scan = _scan(arrays, facts, settings, snr, sides)
    found = _estimates(scan, members, inside, settings["evaluation"]["samples"])
    size = facts["data"]["voxel_size_mm"]
    widths = {
        name: np.mean([[_width(part, place[inside], size) for part in one.T] for one in values], 0)
        for name, values in found.items()
    }
    yield from _rows(subject, f"edge:snr={snr:g}", "edge_width", widths, "mm", int(inside.sum()))


def _width(values: np.ndarray, place: np.ndarray, size: float) -> float:
    """Width (mm) of the mean profile of values (m,) across the edge, voxels of ``size`` mm at ``place``."""
    near = np.arange(-NEAR_EDGE, NEAR_EDGE)
    return edge_width(size * near, np.array([values[place == at].mean() for at in near]))
