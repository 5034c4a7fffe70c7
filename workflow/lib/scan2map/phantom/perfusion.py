"""Cerebral blood flow and arterial transit time with vascular territories."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from scan2map.phantom.grid import Grid, regrid, smooth_noise

# Label of each territory: right side odd, left side even.
TERRITORIES = {
    "ACA_R": 1, "ACA_L": 2, "MCA_R": 3, "MCA_L": 4, "PCA_R": 5, "PCA_L": 6, "VB_R": 7, "VB_L": 8,
}  # fmt: skip
# Points inside each territory, right hemisphere, MNI152 mm: a geometric reading of Tatu L et al. (2012), Arterial
# territories of the human brain, Front Neurol Neurosci 30:99-110. A voxel belongs to the nearest point.
_SEEDS_MM = {
    "ACA": (
        (6, 50, -12), (8, 62, 6), (8, 46, 22), (10, 30, 42), (12, 12, 56), (10, -8, 60), (10, -28, 60), (10, -48, 56),
        (8, 30, 4), (8, 10, 32), (8, -14, 38), (12, 16, 2), (22, 56, 8), (18, 40, 40), (4, 20, -14), (8, -36, 40),
    ),
    "MCA": (
        (40, 30, 0), (46, 16, 14), (44, 40, 14), (40, 20, 38), (52, 0, 32), (52, -20, 38), (50, -38, 40),
        (46, -54, 34), (42, 0, 4), (54, -14, 2), (60, -30, 6), (54, -50, 12), (50, -2, -22), (38, 8, -28), (30, -4, 6),
        (30, 4, 24), (32, -20, 28), (34, -40, 32), (46, -64, 14), (36, -18, 56), (24, 6, -4), (30, 44, -8),
        (58, -22, -14), (46, 14, -24),
    ),
    "PCA": (
        (10, -20, 8), (14, -28, 2), (10, -70, 6), (10, -84, 2), (20, -90, 6), (12, -76, 24), (10, -62, 22),
        (28, -40, -12), (26, -56, -10), (36, -34, -22), (44, -48, -18), (32, -72, -10), (24, -26, -16), (6, -18, -8),
        (28, -80, 14), (8, -52, 8), (48, -30, -28), (12, -68, 40),
    ),
    "VB": (
        (6, -28, -32), (4, -36, -52), (16, -50, -28), (30, -54, -34), (42, -60, -38), (20, -68, -36), (34, -72, -42),
        (14, -60, -50), (28, -60, -56), (6, -66, -24), (6, -76, -34), (14, -48, -20), (26, -80, -40), (6, -54, -16),
        (48, -56, -44),
    ),
}  # fmt: skip
# Where each territory's artery enters (A1, M1, P1 segment, basilar artery), MNI152 mm.
_INLET_MM = {"ACA": (4, 10, -14), "MCA": (22, 4, -14), "PCA": (8, -20, -10), "VB": (2, -24, -36)}
# Arrival at the inlet in grey matter (pCASL plane at the neck), s, and delay along the way, s/mm.
_INLET_ATT_S = {"ACA": 0.95, "MCA": 0.90, "PCA": 1.10, "VB": 1.00}
ATT_PER_MM_S = 0.0070
WM_ATT_DELAY_S = 0.30
# Ranges of healthy tissue (SYSTEMS §1 of the project; Alsop 2015; Dai 2012).
GM_ATT_RANGE_S, WM_ATT_RANGE_S = (0.8, 2.2), (1.0, 2.5)
# Regional heterogeneity (coefficient of variation) and its smoothness; border zones receive less.
CBF_VARIATION, ATT_VARIATION_S, VARIATION_MM = 0.10, 0.08, 9.0
TERRITORY_VARIATION = 0.05
BORDER_ZONE_LOSS, BORDER_ZONE_DELAY_S, BORDER_ZONE_WIDTH_MM = 0.12, 0.12, 6.0


class Perfusion(NamedTuple):
    """Perfusion (ml/100g/min) and arterial transit time (s) of pure GM and WM at each voxel, and territory labels."""

    gm_cbf: np.ndarray
    wm_cbf: np.ndarray
    gm_att_s: np.ndarray
    wm_att_s: np.ndarray
    territories: np.ndarray


def _seed_table() -> tuple[np.ndarray, np.ndarray]:
    points, labels = [], []
    for name, seeds in _SEEDS_MM.items():
        for side, sign in (("R", 1), ("L", -1)):
            points.append(np.array(seeds, float) * (sign, 1, 1))
            labels.append(np.full(len(seeds), TERRITORIES[f"{name}_{side}"]))
    return np.concatenate(points), np.concatenate(labels)


def territory_map(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Territory label and distance to the border with another territory, for template points (n, 3).

    Returns:
        Labels (n,) of ``TERRITORIES``; half the extra way to the nearest seed of another artery (n,) mm.
    """
    seeds, labels = _seed_table()
    distances = np.stack([cKDTree(seeds[labels == t]).query(points)[0] for t in TERRITORIES.values()], axis=1)
    # The same artery of the other side is no border zone: both supply the midline.
    artery = distances.reshape(len(points), -1, 2).min(-1)
    two = np.partition(artery, 1, axis=1)
    return np.array(list(TERRITORIES.values()))[distances.argmin(1)], (two[:, 1] - two[:, 0]) / 2


def transit_time_s(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Arrival time in grey matter: inlet time of the territory plus the way from its inlet, s, (n,)."""
    inlet = np.zeros((max(TERRITORIES.values()) + 1, 3))
    start = np.zeros(len(inlet))
    for name, label in TERRITORIES.items():
        artery, side = name.split("_")
        inlet[label] = np.array(_INLET_MM[artery]) * ((1 if side == "R" else -1), 1, 1)
        start[label] = _INLET_ATT_S[artery]
    return start[labels] + ATT_PER_MM_S * np.linalg.norm(points - inlet[labels], axis=1)


def _drawn(mean: float, deviation: float, rng: np.random.Generator) -> float:
    return mean + deviation * float(np.clip(rng.standard_normal(), -2, 2))


def _scaled_to_mean(values: np.ndarray, weight: np.ndarray, mean: float) -> np.ndarray:
    return values * (mean / max(float((values * weight).sum() / max(weight.sum(), 1e-6)), 1e-6))


def _into(brain: np.ndarray, values: np.ndarray, dtype) -> np.ndarray:
    image = np.zeros(brain.shape, dtype)
    image[brain] = values
    return image


def build_perfusion(
    grid: Grid, lattice: Grid, points: np.ndarray, gm: np.ndarray, wm: np.ndarray, settings: dict,
    rng: np.random.Generator,
) -> Perfusion:  # fmt: skip
    """Perfusion and transit time of one subject.

    The tissue means (weighted by the fractions) equal the means drawn for the subject: ``settings`` gives the group's
    mean and standard deviation between subjects.

    Args:
        grid: subject grid.
        lattice: coarse grid for the smooth random variation (the same at every voxel size).
        points: template points of the voxels, (x, y, z, 3) mm.
        gm, wm: tissue fractions.
        settings: the block ``phantom_subject.perfusion``.
        rng: the subject's generator.
    """
    gm_mean = _drawn(settings["gm_cbf_ml_100g_min"], settings["gm_cbf_sd_ml_100g_min"], rng)
    wm_mean = _drawn(settings["wm_cbf_ml_100g_min"], settings["wm_cbf_sd_ml_100g_min"], rng)
    shift = _drawn(0.0, settings["att_sd_s"], rng)
    brain = (gm + wm) > 0
    labels, border = territory_map(points[brain])
    zone = np.exp(-0.5 * (border / BORDER_ZONE_WIDTH_MM) ** 2)
    by_territory = 1 + TERRITORY_VARIATION * np.clip(rng.standard_normal(len(TERRITORIES) + 1), -2, 2)
    flow, delay = (regrid(smooth_noise(lattice, VARIATION_MM, rng), lattice, grid)[brain] for _ in range(2))
    pattern = by_territory[labels] * (1 - BORDER_ZONE_LOSS * zone) * np.clip(1 + CBF_VARIATION * flow, 0.5, 1.5)
    arrival = shift + transit_time_s(points[brain], labels) + BORDER_ZONE_DELAY_S * zone + ATT_VARIATION_S * delay
    maps = (
        _scaled_to_mean(pattern, gm[brain], gm_mean),
        _scaled_to_mean(pattern, wm[brain], wm_mean),
        np.clip(arrival, *GM_ATT_RANGE_S),
        np.clip(arrival + WM_ATT_DELAY_S, *WM_ATT_RANGE_S),
    )
    return Perfusion(*(_into(brain, values, np.float32) for values in maps), _into(brain, labels, np.int16))


def mixed_voxel(perfusion: Perfusion, gm: np.ndarray, wm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Perfusion of the mixed voxel (ml/100g/min) and its flow-weighted arrival time (s); CSF is not perfused."""
    flow_gm, flow_wm = gm * perfusion.gm_cbf, wm * perfusion.wm_cbf
    flow = flow_gm + flow_wm
    weighted = flow_gm * perfusion.gm_att_s + flow_wm * perfusion.wm_att_s
    return flow, np.where(flow > 0, weighted / np.maximum(flow, 1e-9), 0).astype(np.float32)
