"""Settings and tissue of thumbnail size, without any anatomy from disk."""

import numpy as np
import pytest

from scan2map.config import defaults, load_system_schema, merge
from scan2map.systems.asl_quantnet.labelling import Delays


@pytest.fixture(scope="session")
def thumbnail_settings():
    """The defaults with small slices and networks."""
    return merge(
        defaults(load_system_schema("asl_quantnet")),
        {
            "network": {"local": {"channels": 8, "blocks": 2}, "unet": {"widths": [8, 16]}},
            "simulation": {"patch_voxels": 24},
            "evaluation": {
                "slices": 2,
                "slice_voxels": 40,
                "voxel_size_mm": [4.0, 4.0, 5.0],
                "snr_gm": [3],
                "realisations": 1,
            },
        },
    )


@pytest.fixture(scope="session")
def delays():
    """Six delays of each kind."""
    steps = tuple(np.arange(0.5, 3.01, 0.5))
    return Delays(steps, steps)
