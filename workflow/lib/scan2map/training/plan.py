"""What is known about a training before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scan2map.systems import load_system
from scan2map.training.checkpoints import fingerprint
from scan2map.training.dataset import files_hash
from scan2map.training.hashes import source_hash
from scan2map.training.job import TrainingJob
from scan2map.training.settings import deciding

# Settings that change how long a training may take or what it tells, not what it computes.
UNDECISIVE = ("max_minutes", "tensorboard")


@dataclass(frozen=True)
class Plan:
    """A training, planned.

    Attributes:
        job: what to train.
        normalisation: constants of the training part.
        facts: everything that decides the weights.
        steps: optimisation steps from one checkpoint to the next (one Lightning epoch).
        epochs: number of checkpoints.
    """

    job: TrainingJob
    normalisation: dict[str, Any]
    facts: dict[str, Any]
    steps: int
    epochs: int

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the weights."""
        return fingerprint(self.facts)


def make_plan(job: TrainingJob) -> Plan:
    """Normalisation, schedule and fingerprint of a job."""
    training = job.model["training"]
    settings = deciding(job.model["settings"])
    compute = {key: job.model["compute"][key] for key in ("device", "precision", "devices", "nodes")}
    steps = min(training["checkpoint_every_steps"], training["max_steps"])
    facts = {
        "system": job.system,
        "seed": job.seed,
        "settings": settings,
        "training": {key: value for key, value in training.items() if key not in UNDECISIVE},
        "compute": compute,
        "data_sha256": files_hash([*job.train, *job.validation]),
        "source_sha256": source_hash(job.system),
    }
    normalisation = load_system(job.system).normalisation([Path(path) for path in job.train], settings)
    return Plan(job, normalisation, facts, steps, training["max_steps"] // steps)
