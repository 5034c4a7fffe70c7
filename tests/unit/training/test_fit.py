"""Training: the same weights however often it is killed, and a record of what it cost."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
import torch
import toy_study
from safetensors.torch import load_file

from scan2map.errors import SettingError
from scan2map.training.fit import fit_job
from scan2map.training.package import read_summary


@pytest.fixture
def data(toy, tmp_path):
    return toy_study.dataset(tmp_path / "data")


def weights(job):
    return Path(job.weights).read_bytes()


def test_a_line_is_learnt_and_told(data, tmp_path, caplog):
    settings = toy_study.model(training={"max_steps": 200, "checkpoint_every_steps": 50})
    job = toy_study.job(tmp_path / "a", data, settings)
    with caplog.at_level("INFO", "scan2map"):
        fit_job(job)
    summary = read_summary(job.summary)
    slope = load_file(job.weights)["linear.weight"].item() / summary["normalisation"]["sd"]
    assert slope == pytest.approx(2, abs=0.35)
    assert summary["samples_per_s"] > 0
    assert summary["figures"]["validation/loss"] < 0.5
    assert "step 200/200" in caplog.text
    assert "samples/s" in caplog.text
    history = Path(job.history).read_text().splitlines()
    assert len(history) == 5
    assert {"step", "train/loss", "train/bias", "validation/loss", "learning_rate"} <= set(history[0].split("\t"))


def test_same_seed_same_bytes_other_seed_others(data, tmp_path):
    seeds = {"a": 1, "b": 1, "c": 2}
    jobs = [toy_study.job(tmp_path / name, data, toy_study.model(), seed) for name, seed in seeds.items()]
    for job in jobs:
        fit_job(job)
    assert weights(jobs[0]) == weights(jobs[1]) != weights(jobs[2])


class Killed(BaseException):
    """What a test raises where a kill would strike."""


@pytest.mark.parametrize(
    ("features", "killed_at"),
    [({}, 13), ({"ema_decay": None}, 39), ({"selection": "best"}, 20), ({"early_stop_checkpoints": 2}, 25)],
)
def test_interrupted_training_ends_with_the_same_bytes(data, tmp_path, monkeypatch, features, killed_at):
    from scan2map.systems.toy.module import ToyModule

    settings = toy_study.model(training={"gradient_clip": 0.5, "learning_rate": 0.3, **features})
    whole = toy_study.job(tmp_path / "whole", data, settings)
    fit_job(whole)
    broken, losses, calls = toy_study.job(tmp_path / "broken", data, settings), ToyModule.losses, []

    def dies(module, batch):
        calls.append(1)
        if module.training and len(calls) >= killed_at:
            raise Killed
        return losses(module, batch)

    monkeypatch.setattr(ToyModule, "losses", dies)
    with pytest.raises(Killed):
        fit_job(broken)
    monkeypatch.setattr(ToyModule, "losses", losses)
    random.seed(99)
    torch.manual_seed(99)
    fit_job(broken)
    assert weights(broken) == weights(whole)
    assert Path(broken.history).read_bytes() == Path(whole.history).read_bytes()


def test_every_step_sees_samples_of_its_own_also_after_a_resume(data, tmp_path, monkeypatch):
    from scan2map.systems.toy.module import ToyModule
    from scan2map.training.stream import Samples

    seen, drawn, losses = [], Samples.__getitem__, ToyModule.losses
    monkeypatch.setattr(Samples, "__getitem__", lambda stream, place: (seen.append(place), drawn(stream, place))[1])

    def dies(module, batch):
        if len(seen) > 8 * 25:
            raise Killed
        return losses(module, batch)

    job = toy_study.job(tmp_path / "a", data, toy_study.model())
    monkeypatch.setattr(ToyModule, "losses", dies)
    with pytest.raises(Killed):
        fit_job(job)
    assert seen[: 8 * 20] == list(range(8 * 20))
    seen.clear()
    monkeypatch.setattr(ToyModule, "losses", losses)
    fit_job(job)
    assert seen == list(range(8 * 20, 8 * 40))


@pytest.mark.parametrize(("strike", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_killed_processes_end_with_the_same_bytes(data, tmp_path, toy_folder, strike, code):
    """A real training process is killed at two moments, by force or as a scheduler does it, then runs to its end."""
    settings = toy_study.model(settings={"step_pause_s": 0.02}, training={"max_steps": 60})
    whole, broken = (toy_study.job(tmp_path / name, data, settings) for name in ("whole", "broken"))
    fit_job(whole)
    broken.save(tmp_path / "job.json")
    last = Path(broken.checkpoints) / "last.ckpt"
    kills = 0
    for pause_s in (0.05, 0.31):
        process = toy_study.start(toy_folder, tmp_path / "job.json")
        before = last.stat().st_mtime_ns if last.is_file() else 0
        while process.poll() is None and (not last.is_file() or last.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(pause_s)
        process.send_signal(strike)
        process.communicate()
        kills += process.returncode == code
    process = toy_study.start(toy_folder, tmp_path / "job.json")
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert kills == 2
    assert "training goes on from" in text
    assert weights(broken) == weights(whole)


def test_a_checkpoint_of_other_settings_is_not_used(data, tmp_path):
    fast, slow = (toy_study.model(training={"learning_rate": rate}) for rate in (0.1, 0.01))
    fit_job(toy_study.job(tmp_path / "a", data, fast))
    changed, fresh = toy_study.job(tmp_path / "a", data, slow), toy_study.job(tmp_path / "b", data, slow)
    fit_job(changed)
    fit_job(fresh)
    assert weights(changed) == weights(fresh)


def test_a_finished_training_is_not_trained_again(data, tmp_path):
    job = toy_study.job(tmp_path / "a", data, toy_study.model())
    fit_job(job)
    first = weights(job)
    Path(job.weights).unlink()
    stamp = (Path(job.checkpoints) / "last.ckpt").stat().st_mtime_ns
    fit_job(job)
    assert weights(job) == first
    assert (Path(job.checkpoints) / "last.ckpt").stat().st_mtime_ns == stamp


def test_loader_processes_do_not_change_the_weights(data, tmp_path):
    settings = [toy_study.model(compute={"workers": workers}) for workers in (0, 1)]
    jobs = [toy_study.job(tmp_path / str(place), data, chosen) for place, chosen in enumerate(settings)]
    for job in jobs:
        fit_job(job)
    assert weights(jobs[0]) == weights(jobs[1])


def test_early_stop_ends_before_the_last_step(data, tmp_path):
    still = toy_study.model(training={"learning_rate": 1e-12, "early_stop_checkpoints": 1, "ema_decay": None})
    job = toy_study.job(tmp_path / "a", data, still)
    fit_job(job)
    assert read_summary(job.summary)["steps"] < 40


def test_time_limit_ends_at_a_checkpoint(data, tmp_path):
    slow = toy_study.model(training={"max_minutes": 0.0001}, settings={"step_pause_s": 0.01})
    job = toy_study.job(tmp_path / "a", data, slow)
    fit_job(job)
    assert read_summary(job.summary)["steps"] == 10


def test_best_weights_are_those_of_the_lowest_loss(data, tmp_path):
    wild = {"learning_rate": 3.0, "selection": "best", "schedule": "constant", "ema_decay": None}
    job = toy_study.job(tmp_path / "a", data, toy_study.model(training=wild))
    fit_job(job)
    header, *rows = [line.split("\t") for line in Path(job.history).read_text().splitlines()]
    losses = {int(row[header.index("step")]): float(row[header.index("validation/loss")]) for row in rows}
    assert read_summary(job.summary)["packaged_step"] == min(losses, key=losses.get)


def test_selection_needs_a_validation_part(data, tmp_path):
    job = toy_study.job(tmp_path / "a", data[:2], toy_study.model(training={"selection": "best"}))
    with pytest.raises(SettingError, match="no validation part"):
        fit_job(job)


def test_an_absent_gpu_stops_training(data, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    job = toy_study.job(tmp_path / "a", data, toy_study.model(compute={"device": "cuda"}))
    with pytest.raises(SettingError, match="torch finds no GPU"):
        fit_job(job)
    assert not Path(job.weights).exists()


def test_the_summary_holds_what_a_package_needs(data, tmp_path):
    job = toy_study.job(tmp_path / "a", data, toy_study.model())
    fit_job(job)
    summary = json.loads(Path(job.summary).read_text())
    assert len(summary["data_sha256"]) == len(summary["source_sha256"]) == 64
    assert summary["seed"] == 1
    assert summary["gpu_memory_mb"] is None


def test_two_optimisers_train_and_resume_as_one(data, tmp_path, monkeypatch):
    """Manual optimisation with two steps per batch, as a system with a discriminator has it."""
    from scan2map.systems.toy.module import ToyModule

    def step(module, batch, index):
        for optimiser in module.optimizers():
            optimiser.zero_grad()
            parts = module.losses(batch)
            module.manual_backward(parts["loss"])
            optimiser.step()
        module.record("train", parts)

    monkeypatch.setattr(ToyModule, "automatic_optimization", False)
    monkeypatch.setattr(ToyModule, "training_step", step)
    monkeypatch.setattr(
        ToyModule,
        "configure_optimizers",
        lambda module: [torch.optim.Adam([value], lr=0.1) for value in module.parameters()],
    )
    settings = toy_study.model(training={"gradient_clip": 1.0})
    whole, broken = (toy_study.job(tmp_path / name, data, settings) for name in ("whole", "broken"))
    fit_job(whole)
    assert read_summary(whole.summary)["steps"] == 40
    losses, calls = ToyModule.losses, []

    def dies(module, batch):
        calls.append(1)
        if module.training and len(calls) > 50:
            raise Killed
        return losses(module, batch)

    monkeypatch.setattr(ToyModule, "losses", dies)
    with pytest.raises(Killed):
        fit_job(broken)
    monkeypatch.setattr(ToyModule, "losses", losses)
    fit_job(broken)
    assert weights(broken) == weights(whole)
