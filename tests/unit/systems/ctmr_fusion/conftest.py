"""A thumbnail head of the fusion: nested ellipsoids on 32 × 32 × 8 voxels, and its settings."""

import copy

import numpy as np
import pytest
import torch

from scan2map.config import check_block, load_system_schema
from scan2map.systems.ctmr_fusion.cohort import Head
from scan2map.systems.ctmr_fusion.scenes import draw_scene

VOXEL_MM = np.array([5.0, 5.0, 5.0])
THUMBNAIL = {
    "network": {"channels": [8, 16], "lesion_width": 4},
    "simulation": {"slab_slices": 8},
    "sampling": {"steps": 5, "ensemble": 2},
    "evaluation": {"slices": 8, "steps": [5]},
}


def build_head(count=(32, 32, 8)) -> Head:
    """Grey matter around white matter around a ventricle, in a skull, in skin."""
    index = np.stack(np.meshgrid(*map(np.arange, count), indexing="ij"), -1) - (np.array(count) - 1) / 2
    radius = np.linalg.norm(index / [10, 12, 12], axis=-1)

    def share(edge):
        return np.clip(0.5 + (edge - radius) * 10, 0, 1)

    edges = [share(edge) for edge in (0.2, 0.7, 0.95, 1.05, 1.25, 1.35)]
    ventricle, white, grey, fluid, skull, skin = edges
    csf = ventricle + fluid - grey
    fractions = np.stack([csf, grey - white, white - ventricle, skull - fluid, skin - skull]).astype(np.float32)
    hounsfield = 5 * csf + 37 * fractions[1] + 29 * fractions[2] + 1100 * fractions[3] + 40 * fractions[4]
    return Head(fractions, (hounsfield - 1000 * (1 - fractions.sum(0))).astype(np.float32), VOXEL_MM)


@pytest.fixture(scope="session")
def fusion_head():
    return build_head()


@pytest.fixture
def fusion_settings():
    return check_block("ctmr_fusion", copy.deepcopy(THUMBNAIL), load_system_schema("ctmr_fusion"))


@pytest.fixture
def fusion_scene(fusion_head, fusion_settings):
    simulation = fusion_settings["simulation"] | {"jitter": {"shift_mm": 0, "turn_deg": 0, "share": 0}}
    return draw_scene(fusion_head, simulation, np.random.default_rng(4), [20.0])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)
