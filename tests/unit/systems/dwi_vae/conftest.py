"""A small head of the diffusion VAE, its settings, and a scan of it."""

import pytest
import torch

from scan2map.config import check_block, load_system_schema
from scan2map.training.settings import load_model

DATA = {"voxel_size_mm": 8, "directions": 12, "b0_volumes": 4, "cluster_voxels": 400}
TRAINING = {"max_steps": 40, "batch_size": 2, "checkpoint_every_steps": 20, "learning_rate": 0.005, "warmup_steps": 0}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def vae_settings():
    """Settings from changes."""

    def make(**changes):
        return check_block("settings", {"data": DATA, **changes}, load_system_schema("dwi_vae"))

    return make


@pytest.fixture(scope="session")
def vae_model():
    """Training and compute blocks."""
    return load_model("dwi_vae", {"training": TRAINING})


@pytest.fixture(scope="session")
def vae_file(tmp_path_factory, vae_settings):
    """Data-set file of one small head."""
    from scan2map.systems.dwi_vae.simulate import build_subject_file

    path = tmp_path_factory.mktemp("dwi_vae") / "sub-L01.safetensors"
    build_subject_file("L01", vae_settings()["data"], path)
    return path
