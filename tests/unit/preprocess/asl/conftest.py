"""A small perfused head, noise-free, on an ASL grid."""

from dataclasses import dataclass

import numpy as np
import pytest

from scan2map.preprocess.asl.metadata import Labelling

AFFINE = np.diag([4.0, 4, 6, 1])


@dataclass(frozen=True)
class PerfusedBall:
    """Tissue fractions, true CBF (ml/100g/min), M0 and mask of concentric shells: CSF around GM around WM."""

    tissues: dict[str, np.ndarray]
    cbf: np.ndarray
    m0: np.ndarray
    mask: np.ndarray
    affine: np.ndarray


@pytest.fixture(scope="session")
def ball() -> PerfusedBall:
    shape = (24, 24, 12)
    world = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * [4, 4, 6] - [46, 46, 33]
    radius = np.linalg.norm(world, axis=-1)
    wm = np.clip((22 - radius) / 6, 0, 1)
    gm = np.clip((36 - radius) / 6, 0, 1) - wm
    csf = np.clip((42 - radius) / 6, 0, 1) - wm - gm
    m0 = 1000 * csf + 830 * gm + 700 * wm
    mask = (gm + wm + csf) > 0.5
    return PerfusedBall({"GM": gm, "WM": wm, "CSF": csf}, 60 * gm + 20 * wm, m0, mask, AFFINE)


@pytest.fixture
def pcasl() -> Labelling:
    """Two pairs of PCASL, 3-D readout, no background suppression, fully relaxed separate M0."""
    types = ("control", "label", "control", "label")
    return Labelling("PCASL", types, (1.8,) * 4, (1.8,) * 4, None, 0, None, "Separate", 10.0, None, 3.0)
