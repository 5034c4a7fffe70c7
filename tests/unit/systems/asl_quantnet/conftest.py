"""Settings and tissue of thumbnail size, without any anatomy from disk."""

import numpy as np
import pytest
import torch

from scan2map.config import defaults, load_system_schema, merge
from scan2map.phantom.slices.tissue import as_head
from scan2map.systems.asl_quantnet.labelling import Delays


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are faster on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.fixture(scope="session")
def ball_head():
    """A ball of white matter in a shell of grey matter in a shell of CSF, 4 mm voxels."""
    place = np.indices((40, 40, 40)) - 19.5
    radius = np.sqrt((place**2).sum(0))
    csf, gm, wm = (radius < 18) & (radius >= 16), (radius < 16) & (radius >= 10), radius < 10
    return as_head(np.stack([csf, gm, wm]).astype(np.float16), 4.0)
