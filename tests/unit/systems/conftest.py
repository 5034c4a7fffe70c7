"""What the systems' tests share: one thread, and a head without any anatomy from disk."""

import numpy as np
import pytest
import torch

from scan2map.phantom.slices.tissue import as_head


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are faster on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ball_head():
    """A ball of white matter in a shell of grey matter in a shell of CSF, 4 mm voxels."""
    place = np.indices((40, 40, 40)) - 19.5
    radius = np.sqrt((place**2).sum(0))
    csf, gm, wm = (radius < 18) & (radius >= 16), (radius < 16) & (radius >= 10), radius < 10
    return as_head(np.stack([csf, gm, wm]).astype(np.float16), 4.0)
