"""From control and label volumes to difference images, and which of them to trust."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scan2map.errors import DataError
from scan2map.preprocess.asl.metadata import Labelling

LOGGER = logging.getLogger("scan2map")
# SCORE needs a few pairs to tell an outlier from noise.
LEAST_PAIRS_FOR_OUTLIERS = 5


class Pairs(NamedTuple):
    """Difference images (x, y, z, n), the delay of each (n,) s, and the volumes that each was made of."""

    images: np.ndarray
    delays_s: np.ndarray
    volumes: list[tuple[int, ...]]


def subtract(data: np.ndarray, labelling: Labelling, scheme: str) -> Pairs:
    """Control minus label.

    Args:
        data: (x, y, z, t) control, label and difference volumes.
        labelling: of these volumes.
        scheme: ``pairwise`` (the n-th control minus the n-th label of a delay) or ``surround`` (each volume against
            the mean of its two neighbours of the other kind: less sensitive to drift).

    Raises:
        DataError: there is no pair.

    Source: Liu and Wong 2005, NeuroImage 24:207 (surround subtraction).
    """
    if labelling.volumes_of("deltam"):
        pairs = [(index,) for index in labelling.volumes_of("deltam")]
    else:
        pairs = (_pairwise if scheme == "pairwise" else _surround)(labelling)
    if not pairs:
        raise DataError(
            "The ASL series holds no control-label pair",
            found=f"{list(labelling.volume_types)}",
            remedy="the scan may be cut short: exclude it",
        )
    images = np.stack([_difference(data, volumes, labelling.volume_types) for volumes in pairs], axis=-1)
    return Pairs(images, np.array([labelling.delays_s[volumes[0]] for volumes in pairs]), pairs)


def recorded_differences(data: np.ndarray, volume_types: Sequence[str], pairs: Sequence[str]) -> np.ndarray:
    """The difference images that a table of pairs describes.

    Args:
        data: (x, y, z, t) control and label, or difference volumes.
        volume_types: of each volume.
        pairs: of each difference its volumes, such as ``3,2,4`` (the third against the mean of the others).

    Returns:
        (x, y, z, n), control minus label.
    """
    volumes = [tuple(int(number) for number in str(text).split(",")) for text in pairs]
    return np.stack([_difference(data, one, volume_types) for one in volumes], axis=-1)


def select_pairs(images: np.ndarray, tissues: dict[str, np.ndarray], skip: int, method: str) -> np.ndarray:
    """What becomes of each difference image: ``used``, ``skipped`` at the start, or ``outlier``.

    Args:
        images: (x, y, z, n).
        tissues: fractions of GM, WM and CSF on the same grid.
        skip: how many to leave out at the start.
        method: ``none`` or ``score``.

    Returns:
        (n,) strings.

    Raises:
        DataError: none is left.
    """
    count = images.shape[-1]
    if skip >= count:
        raise DataError(
            "No control-label pair is left", found=f"{count} pairs, asl.skip_pairs {skip}", remedy="skip fewer pairs"
        )
    fate = np.array(["skipped"] * skip + ["used"] * (count - skip), dtype=object)
    if method == "score" and count - skip >= LEAST_PAIRS_FOR_OUTLIERS:
        keep = score(images[..., skip:], *(tissues[name] > 0.7 for name in ("GM", "WM", "CSF")))
        fate[skip:][~keep] = "outlier"
    return fate


def score(images: np.ndarray, gm: np.ndarray, wm: np.ndarray, csf: np.ndarray) -> np.ndarray:
    """Structural correlation based outlier rejection (SCORE).

    First, images whose mean over grey matter lies more than 2.5 robust standard deviations off the median are left
    out. Then, as long as the pooled spatial variance within tissues falls, the image that correlates most with the
    mean image is left out: an artefact that shapes the mean is most like it.

    Args:
        images: (x, y, z, n) difference images.
        gm, wm, csf: boolean tissue masks.

    Returns:
        Boolean (n,): images that stay.

    Source: Dolui et al. 2017, JMRI 45:1786.
    """
    tissues = [mask for mask in (gm, wm, csf) if mask.sum() > 1]
    if not gm.any():
        return np.ones(images.shape[-1], dtype=bool)
    grey = images[gm].mean(0)
    spread = 1.4826 * np.median(np.abs(grey - np.median(grey)))
    keep = np.abs(grey - np.median(grey)) <= 2.5 * max(spread, 1e-12)
    brain = np.any(tissues, axis=0)
    variance = _pooled_variance(images[..., keep].mean(-1), tissues)
    while keep.sum() > max(LEAST_PAIRS_FOR_OUTLIERS, images.shape[-1] // 2):
        smaller = keep.copy()
        smaller[_most_correlated(images[brain], keep)] = False
        reduced = _pooled_variance(images[..., smaller].mean(-1), tissues)
        if reduced >= variance:
            break
        keep, variance = smaller, reduced
    return keep


def _pairwise(labelling: Labelling) -> list[tuple[int, ...]]:
    pairs = []
    for delay in labelling.labelled_delays_s:
        controls, labels = (
            [index for index in labelling.volumes_of(kind) if labelling.delays_s[index] == delay]
            for kind in ("control", "label")
        )
        if len(controls) != len(labels):
            message = "delay %g s: %d control and %d label volumes; those without a partner are left out"
            LOGGER.warning(message, delay, len(controls), len(labels))
        pairs += list(zip(controls, labels, strict=False))
    return sorted(pairs)


def _surround(labelling: Labelling) -> list[tuple[int, ...]]:
    types, delays = labelling.volume_types, labelling.delays_s
    triples = [(index, index - 1, index + 1) for index in range(1, len(types) - 1)]
    return [
        triple
        for triple in triples
        if types[triple[1]] == types[triple[2]] != types[triple[0]] and len({delays[one] for one in triple}) == 1
    ]


def _difference(data: np.ndarray, volumes: tuple[int, ...], volume_types: Sequence[str]) -> np.ndarray:
    if len(volumes) == 1:
        return data[..., volumes[0]]
    others = data[..., list(volumes[1:])].mean(-1)
    sign = 1 if volume_types[volumes[0]] == "control" else -1
    return sign * (data[..., volumes[0]] - others)


def _pooled_variance(image: np.ndarray, tissues: list[np.ndarray]) -> float:
    weights = [mask.sum() - 1 for mask in tissues]
    return float(np.average([image[mask].var(ddof=1) for mask in tissues], weights=weights))


def _most_correlated(values: np.ndarray, keep: np.ndarray) -> int:
    mean = values[:, keep].mean(1)
    kept = np.flatnonzero(keep)
    return int(kept[np.argmax([np.corrcoef(values[:, index], mean)[0, 1] for index in kept])])
