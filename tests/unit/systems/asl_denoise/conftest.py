"""Settings, scenes and networks of thumbnail size."""

import pytest
import torch

from scan2map.config import defaults, load_system_schema, merge
from scan2map.systems.asl_denoise.networks import build_network
from scan2map.systems.asl_denoise.protocol import Scorer
from scan2map.systems.asl_denoise.scenes import build_scene

SMALL = {
    "network": {"filters": 4, "layers": 2},
    "simulation": {"patch_voxels": 24},
    "evaluation": {
        "slices": 2,
        "slice_voxels": 40,
        "voxel_size_mm": [4.0, 4.0, 5.0],
        "settings": {"synthetic": {"pairs": 10}, "real": {"pairs": 5}},
    },
}


@pytest.fixture(scope="session")
def denoise_settings():
    """The defaults with small slices, few pairs, a small network."""
    return merge(defaults(load_system_schema("asl_denoise")), SMALL)


@pytest.fixture(scope="session")
def denoise_scene(ball_head, denoise_settings):
    """A scan of a ball."""
    return build_scene(ball_head, "ball", "synthetic", denoise_settings["evaluation"])


@pytest.fixture
def untrained(denoise_settings):
    """A network that knows nothing yet."""
    torch.manual_seed(3)
    return build_network(denoise_settings).eval()


@pytest.fixture
def denoise_scorer(untrained, denoise_settings):
    """A package of two such networks."""
    return Scorer({1: untrained, 2: untrained}, denoise_settings)
