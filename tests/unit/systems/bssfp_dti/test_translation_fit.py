"""Adversarial training in stages through the shared path: the same weights however often it is killed."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from scan2map.config import check_block, load_schema
from scan2map.systems.bssfp_dti.training import TranslationModule
from scan2map.training.dataset import save_subject
from scan2map.training.fit import fit_job
from scan2map.training.job import TrainingJob

STEPS = 4


class Killed(BaseException):
    """What the test raises where a kill would strike."""


@pytest.fixture
def make_job(arrays, settings, tmp_path):
    path = tmp_path / "sub-T01.safetensors"
    save_subject(path, arrays)
    shares = {"autoencoder_share": 0.25, "head_share": 0.25}

    def job(folder):
        model = check_block("model", {}, load_schema("model"))
        model["training"] |= {"max_steps": STEPS, "checkpoint_every_steps": 1, "batch_size": 1, "learning_rate": 0.01}
        model["settings"] = settings(stages=shares, patches={"validation": 1}, network={"prior_points": 4})
        where = tmp_path / folder
        names = {"weights": "weights.safetensors", "summary": "summary.json", "history": "history.tsv"}
        results = {name: str(where / file) for name, file in names.items()}
        return TrainingJob(
            "bssfp_dti", "multi", "main", 1, model, (str(path),), (str(path),), str(where / "checkpoints"), **results
        )

    return job


def test_a_training_killed_between_its_stages_ends_with_the_same_weights(make_job, monkeypatch):
    whole, broken = make_job("whole"), make_job("broken")
    fit_job(whole)
    step, taken = TranslationModule.training_step, []

    def mortal(module, batch, index):
        if len(taken) == 2:
            raise Killed
        taken.append(index)
        return step(module, batch, index)

    monkeypatch.setattr(TranslationModule, "training_step", mortal)
    with pytest.raises(Killed):
        fit_job(broken)
    monkeypatch.setattr(TranslationModule, "training_step", step)
    fit_job(broken)
    first, second = (load_file(job.weights) for job in (whole, broken))
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
    summary = json.loads(Path(whole.summary).read_text())
    assert summary["normalisation"]["channels"]["magnitude"] > 1
    parts = {"l1", "ssim", "perceptual", "adversarial", "discriminator", "features", "loss"}
    assert {f"train/{name}" for name in parts} <= set(summary["figures"])
