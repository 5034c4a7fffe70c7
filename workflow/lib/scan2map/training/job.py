"""One training as data: what is trained, on which files, and where its results go. Also the program of each process."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Attributes:
        system, variant, fold, seed: which one.
        model: ``settings``, ``training`` and ``compute`` of the variant.
        train, validation: data set files of the two parts.
        checkpoints: folder that outlives a killed job.
        weights: the ``.safetensors`` file to write.
        summary: the JSON file to write: figures, normalisation, hashes.
        history: the table to write: losses at every checkpoint.
    """

    system: str
    variant: str
    fold: str
    seed: int
    model: Mapping[str, Any]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    checkpoints: str
    weights: str
    summary: str
    history: str

    @property
    def processes(self) -> int:
        """Processes that train together, one per device."""
        return self.model["compute"]["devices"] * self.model["compute"]["nodes"]

    def save(self, path) -> None:
        """Write it as JSON."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True))


def load_job(path) -> TrainingJob:
    """Read a job that :meth:`TrainingJob.save` wrote."""
    content = json.loads(Path(path).read_text())
    return TrainingJob(**content | {part: tuple(content[part]) for part in ("train", "validation")})


def main() -> None:
    """Train as one process of a job; the launcher says which."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("scan2map").setLevel(logging.INFO)
    from scan2map.training.fit import fit_job

    fit_job(load_job(sys.argv[1]))


if __name__ == "__main__":
    main()
