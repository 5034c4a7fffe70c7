"""Fit a network: from a job to weights, history and figures, whatever interrupts it."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, Timer
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from scan2map.errors import SettingError
from scan2map.systems import load_system
from scan2map.training import devices
from scan2map.training.callbacks import MONITORED, History, Progress, ResumePoints, SeedSteps, seed_step
from scan2map.training.checkpoints import FINISHED, AtomicCheckpointIO, read_checkpoint, resumable
from scan2map.training.job import TrainingJob
from scan2map.training.module import TrainedModule
from scan2map.training.plan import Plan, make_plan
from scan2map.training.results import write_results
from scan2map.training.settings import deciding
from scan2map.training.stream import StepBatches

LOGGER = logging.getLogger("scan2map")


def fit_job(job: TrainingJob) -> None:
    """Train as one process: resume where a checkpoint fits, write the results when done.

    Raises:
        SettingError: the device that the model file names is not there.
    """
    compute = job.model["compute"]
    devices.require(compute, job.system)
    torch.set_num_threads(compute["threads"])
    _quieten()
    plan = make_plan(job)
    start = resumable(job.checkpoints, plan.fingerprint)
    if start is None or not read_checkpoint(start)[FINISHED]:
        _fit(plan, start)
    if _rank(job) == 0:
        write_results(plan)


def _rank(job: TrainingJob) -> int:
    """Number of this process among those of the job, as torchrun or srun tells."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) if job.processes > 1 else 0


def _quieten() -> None:
    """Lightning's advertisements, hints and warnings about choices made on purpose stay out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


def _fit(plan: Plan, start: Path | None) -> None:
    job, settings = plan.job, deciding(plan.job.model["settings"])
    system = load_system(job.system)
    if job.model["training"]["deterministic"] and job.model["compute"]["device"] == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seed_step(job.seed, 2**41)
    module = system.module(settings, plan.normalisation, job.model["training"])
    trainer = make_trainer(plan, module)
    if _rank(job) == 0:
        LOGGER.info("%s", "training starts" if start is None else f"training goes on from {start}")
    try:
        trainer.fit(module, *_loaders(plan, trainer.world_size), ckpt_path=start, weights_only=True)
    except SIGTERMException:
        # Lightning leaves with 0, which a scheduler takes for success.
        LOGGER.error("stopped by SIGTERM (time limit, cancelled?): the next run goes on from the last checkpoint")
        raise SystemExit(128 + signal.SIGTERM) from None


def _loaders(plan: Plan, processes: int) -> tuple[DataLoader, DataLoader | None]:
    job, training = plan.job, plan.job.model["training"]
    system, settings = load_system(job.system), deciding(job.model["settings"])
    workers = {"num_workers": job.model["compute"]["workers"]}
    workers |= {"persistent_workers": True} if workers["num_workers"] else {}
    samples = system.training_set([Path(path) for path in job.train], settings, job.seed)
    batches = StepBatches(training["batch_size"], plan.steps, _rank(job), processes)
    train = DataLoader(samples, batch_sampler=batches, **workers)
    if not job.validation:
        return train, None
    fixed = system.validation_set([Path(path) for path in job.validation], settings, job.seed)
    return train, DataLoader(fixed, batch_size=max(1, training["batch_size"] // processes), **workers)


def make_callbacks(plan: Plan) -> list[Callback]:
    """What happens beside the steps, in the order in which it happens."""
    job, training = plan.job, plan.job.model["training"]
    if not job.validation and (training["selection"] == "best" or training["early_stop_checkpoints"]):
        raise SettingError(
            f"{job.system} is to be selected or stopped by its validation loss, but the split has no validation part",
            remedy="add subjects with the part validation, or set selection: last and early_stop_checkpoints: null",
        )
    history = History(plan.steps)
    callbacks: list[Callback] = [SeedSteps(job.seed, plan.steps), history]
    callbacks.append(Progress(plan.steps, training["batch_size"], history))
    if training["ema_decay"]:
        callbacks.append(EMAWeightAveraging(decay=training["ema_decay"]))
    if training["max_minutes"]:
        callbacks.append(Timer(timedelta(minutes=training["max_minutes"]), interval="epoch", verbose=False))
    if training["early_stop_checkpoints"]:
        patience = training["early_stop_checkpoints"]
        callbacks.append(EarlyStopping(MONITORED, patience=patience, check_on_train_epoch_end=True))
    callbacks.append(ResumePoints(job.checkpoints, plan.fingerprint, training["selection"] == "best"))
    return callbacks


def make_trainer(plan: Plan, module: TrainedModule) -> lightning.Trainer:
    """The Lightning trainer of a job: named device and precision, no network, no progress bar, own checkpoints."""
    compute, training = plan.job.model["compute"], plan.job.model["training"]
    return lightning.Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu"}[compute["device"]],
        devices=compute["devices"],
        num_nodes=compute["nodes"],
        precision=compute["precision"],
        strategy=compute["strategy"] if plan.job.processes > 1 else "auto",
        max_epochs=plan.epochs,
        # A module with optimisers of its own clips by itself.
        gradient_clip_val=training["gradient_clip"] if module.automatic_optimization else None,
        deterministic=training["deterministic"],
        callbacks=make_callbacks(plan),
        plugins=[AtomicCheckpointIO(), _environment(plan.job)],
        logger=_logger(plan.job),
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=plan.job.checkpoints,
    )


def _environment(job: TrainingJob):
    """Who started the processes: nobody, torchrun, or Slurm's srun."""
    if job.processes == 1:
        return LightningEnvironment()
    return TorchElasticEnvironment() if job.model["compute"]["nodes"] == 1 else SLURMEnvironment(auto_requeue=False)


def _logger(job: TrainingJob):
    """TensorBoard files where they are asked for; the history is written in any case."""
    if not job.model["training"]["tensorboard"]:
        return False
    if find_spec("tensorboard") is None:
        remedy = "install the package tensorboard, or set training.tensorboard: false"
        raise SettingError(f"{job.system} is to write TensorBoard files, which needs tensorboard", remedy=remedy)
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(job.checkpoints, name="tensorboard")
