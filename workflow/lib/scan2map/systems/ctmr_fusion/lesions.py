"""What counts as lesion: where a probability becomes a mask, chosen on validation scans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy import ndimage

from scan2map.evaluation.lesion_scores import NEIGHBOURS, dice

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST_ML = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
# A rule that is no better than another by this much of Dice is no better: among such, the larger smallest piece wins.
TIE = 0.005


def lesion_mask(probability: np.ndarray, voxel_mm: Sequence[float], threshold: float, smallest_ml: float) -> np.ndarray:
    """Voxels of lesion: from a probability on, in connected pieces (26 neighbours) of at least a volume.

    Args:
        probability: (x, y, z).
        voxel_mm: edges of a voxel (3,).
        threshold: least probability.
        smallest_ml: smaller pieces are left out.
    """
    pieces, count = ndimage.label(probability >= threshold, NEIGHBOURS)
    sizes_ml = np.bincount(pieces.ravel(), minlength=count + 1) * np.prod(voxel_mm) / 1000
    kept = sizes_ml >= smallest_ml
    kept[0] = False
    return kept[pieces]


def choose_rule(
    probabilities: Sequence[np.ndarray], experts: Sequence[np.ndarray], voxel_mm: Sequence[float]
) -> tuple[float, float]:
    """Threshold and smallest piece with the largest mean Dice over validation scans.

    Scans without lesion count as scans: any false piece makes their Dice 0.

    Args:
        probabilities, experts: of each scan, (x, y, z).
        voxel_mm: edges of a voxel (3,).
    """
    scores = {
        rule: np.mean(
            [
                dice(lesion_mask(found, voxel_mm, *rule), np.asarray(expert, dtype=bool))
                for found, expert in zip(probabilities, experts, strict=True)
            ]
        )
        for rule in product(THRESHOLDS, SMALLEST_ML)
    }
    best = max(scores.values())
    near = [rule for rule, score in scores.items() if score >= best - TIE]
    return max(near, key=lambda rule: (rule[1], scores[rule]))
