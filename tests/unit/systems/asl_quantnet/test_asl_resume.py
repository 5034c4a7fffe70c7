"""The shipped training, interrupted: the weight of the tissue bias follows the step, so it too goes on where it was."""

from pathlib import Path

import numpy as np
import pytest

from scan2map.systems.asl_quantnet.training import QuantModule
from scan2map.training.dataset import save_subject
from scan2map.training.fit import fit_job
from scan2map.training.job import TrainingJob
from scan2map.training.settings import load_model, variant_of

TRAINING = {"max_steps": 6, "checkpoint_every_steps": 2, "batch_size": 2, "warmup_steps": 2}


class Killed(BaseException):
    """What a kill raises here."""


@pytest.fixture
def data(ball_head, tmp_path):
    paths = [tmp_path / f"sub-{label}.safetensors" for label in ("A", "B", "C")]
    for path in paths:
        save_subject(path, {"fractions": ball_head.fractions[0].numpy().astype(np.float16)}, voxel_size_mm=4.0)
    return [str(path) for path in paths]


def _job(folder: Path, data, precision: str) -> TrainingJob:
    changes = {
        "training": TRAINING,
        "compute": {"precision": precision},
        "settings": {"network": {"local": {"channels": 8, "blocks": 1}}, "simulation": {"patch_voxels": 16}},
    }
    settings = variant_of("asl_quantnet", load_model("asl_quantnet", changes), "local")
    files = {name: str(folder / name) for name in ("checkpoints", "weights", "summary", "history")}
    return TrainingJob("asl_quantnet", "local", "main", 1, settings, tuple(data[:2]), tuple(data[2:]), **files)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_interrupted_training_ends_with_the_same_bytes(data, tmp_path, monkeypatch, precision):
    whole, broken = (_job(tmp_path / name, data, precision) for name in ("whole", "broken"))
    seen, losses = [], QuantModule.losses
    fit_job(whole)

    def dies(module, batch):
        seen.append(module.global_step)
        if module.global_step == 5:
            raise Killed
        return losses(module, batch)

    monkeypatch.setattr(QuantModule, "losses", dies)
    with pytest.raises(Killed):
        fit_job(broken)
    monkeypatch.setattr(QuantModule, "losses", losses)
    fit_job(broken)
    assert seen == list(range(6))
    assert Path(broken.weights).read_bytes() == Path(whole.weights).read_bytes()
    assert Path(broken.history).read_bytes() == Path(whole.history).read_bytes()
