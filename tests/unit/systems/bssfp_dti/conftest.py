"""A thumbnail head, settings and modules of the system."""

import numpy as np
import pytest

from scan2map.config import check_block, load_system_schema, merge

SHAPE = (20, 22, 18)
SMALL = {
    "network": {"head_width": 4, "widths": [4, 4, 4, 4, 4, 4], "dropout": 0.0},
    "patches": {"size_voxels": 32, "validation": 2},
    "loss": {"discriminator_width": 4, "feature_width": 4},
    "inference": {"window_voxels": 32, "overlap_voxels": 16},
}
TRAINING = {
    "optimiser": "adamw", "learning_rate": 0.01, "weight_decay": 0.0001, "schedule": "constant", "warmup_steps": 0,
    "max_steps": 10, "gradient_clip": 1.0,
}  # fmt: skip


@pytest.fixture
def settings():
    def make(**changes):
        return check_block("bssfp_dti", merge(SMALL, changes), load_system_schema("bssfp_dti"))

    return make


@pytest.fixture
def training():
    return dict(TRAINING)


@pytest.fixture
def arrays():
    """Two bSSFP and two diffusion sessions of a ball whose tensors vary in size, shape and direction."""
    rng = np.random.default_rng(5)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    mask = (place**2).sum(0) < 0.8
    factor = np.zeros((3, 3, *SHAPE))
    factor[range(3), range(3)] = 0.9 + 0.2 * place
    factor[0, 1], factor[0, 2], factor[1, 2] = 0.3 * place[2], 0.2 * place[1], 0.25 * place[0]
    full = np.einsum("ijxyz,kjxyz->ikxyz", factor, factor)
    tensor = np.stack([full[0, 0], full[0, 1], full[0, 2], full[1, 1], full[1, 2], full[2, 2]]) * mask
    noise = 0.02 * rng.standard_normal((2, *tensor.shape)) * mask
    signal = rng.uniform(0.5, 1.5, (2, 24, *SHAPE)) * mask
    return {
        "bssfp": signal.astype(np.float16),
        "tensor": (tensor + noise).astype(np.float16),
        "truth": tensor.astype(np.float32),
        "t1w": (1 + 0.2 * place[0]).astype(np.float32) * mask,
        "mask": mask.astype(np.uint8),
        "tissue": np.stack([mask * (place[0] < -0.3), mask * (np.abs(place[0]) <= 0.3), mask * (place[0] > 0.3)]),
        "template_mm": (60 * place).astype(np.float32),
        "registered_mm": (60 * place + 1).astype(np.float32),
    }  # fmt: skip


@pytest.fixture
def constants():
    elements = {"diagonal": [-1.3, 1.1], "off_diagonal": [-0.7, 0.7]}
    raw = {"diagonal": [0.2, 3.2], "off_diagonal": [-0.8, 0.8]}
    return {"channels": {"magnitude": 3.0, "t1w": 1.5}, "elements": {"log": elements, "raw": raw}}
