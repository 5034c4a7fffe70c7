"""What a learned system is to the rest of the project: one object that satisfies :class:`System`.

The rules, the trainer, the package, the pages and the validation know systems only through this protocol.
``docs/adding-a-system.md`` walks through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from scan2map.training.files import PredictedMap, RailFile

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch.utils.data import Dataset

    from scan2map.images import Image
    from scan2map.training.module import TrainedModule
    from scan2map.training.package import Package


@dataclass(frozen=True)
class Description:
    """What the workflow must know of a system without importing its science.

    Attributes:
        title: its name on pages.
        cohort: who it learns from: ``phantom`` (digital subjects, simulated by the system) or ``study`` (subjects of
            the study, from the files named in ``sources``).
        modalities: modalities that a session must run for a prediction.
        roles: BIDS roles (column ``role`` of ``files.tsv``) that a session must have for a prediction.
        inputs: what prediction reads of a session, by name.
        sources: what ``build_dataset`` reads of a study session, by name; empty for a phantom cohort.
        maps: what prediction writes: all of them, or those of the signal model that the session's data carry.
        intended_use: sentences for the model card.
        limits: what the model must not be used for, for the model card.
        fits_session: a prediction trains on the session's own data: ``predict`` then takes a folder for
            ``checkpoints`` that outlives an interruption, and may take as long as a training.
        viewer: names of maps that the session's page lets the reader look through: grey ones below, coloured ones over
            them, the first of these to begin with; no viewer where empty.
    """

    title: str
    cohort: Literal["phantom", "study"]
    modalities: tuple[str, ...]
    inputs: Mapping[str, RailFile]
    maps: tuple[PredictedMap, ...]
    intended_use: str
    limits: tuple[str, ...]
    roles: tuple[str, ...] = ()
    sources: Mapping[str, RailFile] = field(default_factory=dict)
    fits_session: bool = False
    viewer: tuple[str, ...] = ()


class System(Protocol):
    """One learned system. Everything heavy (torch, Lightning) is imported inside the methods.

    ``settings`` is always the block ``settings`` of ``config/models/<name>.yaml``, filled with the defaults of the
    system's own ``settings.schema.yaml``, with the variant's values in place. Its sub-block ``data`` alone decides the
    data set and cannot be changed by a variant; its sub-block ``evaluation`` alone may be changed without retraining.
    """

    description: Description

    def build_dataset(
        self, subject: str, sources: Mapping[str, Mapping[str, Path]], settings: Mapping[str, Any], output: Path
    ) -> None:
        """Write the data of one subject with :func:`scan2map.training.dataset.save_subject`.

        Args:
            subject: label.
            sources: session to name to path of the files in ``description.sources``; empty for a phantom cohort.
            settings: the sub-block ``data`` only.
            output: the ``.safetensors`` file to write.
        """

    def normalisation(self, train: Sequence[Path], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Constants from the training part only; plain numbers and lists (they go into the package as JSON)."""

    def training_set(self, train: Sequence[Path], settings: Mapping[str, Any], seed: int) -> Dataset:
        """Samples by counter: item ``i`` is a pure function of ``seed`` and ``i``, for any i >= 0.

        Use the helpers of :mod:`scan2map.training.stream`; a system that simulates whole batches on the device returns
        ``Counter()`` and draws from torch's generator in its training step, which is seeded before every step.
        """

    def validation_set(self, validation: Sequence[Path], settings: Mapping[str, Any], seed: int) -> Dataset:
        """A finite, fixed data set for the loss that is watched during training."""

    def network(self, settings: Mapping[str, Any], normalisation: Mapping[str, Any]) -> torch.nn.Module:
        """The network whose weights a package holds, freshly initialised."""

    def module(
        self, settings: Mapping[str, Any], normalisation: Mapping[str, Any], training: Mapping[str, Any]
    ) -> TrainedModule:
        """The Lightning module that trains ``network``.

        Args:
            settings: the system's settings.
            normalisation: the constants.
            training: the block ``training`` of the model file (learning rate, schedule, ...).
        """

    def acquisition(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What a model trained with these settings demands of a session.

        Returns:
            Name to a demand as :mod:`scan2map.training.acquisition` understands it, e.g.
            ``{"pulses": {"equals": 2}, "delay_s": {"minimum": 0.5, "maximum": 3.0, "unit": "s"}}``.
        """

    def read_acquisition(self, inputs: Mapping[str, Path]) -> dict[str, Any]:
        """The same quantities of one session, read from its files."""

    def predict(self, package: Package, inputs: Mapping[str, Path], device: str) -> dict[str, Image]:
        """The maps of one session by their names in ``description.maps``, each prediction with its companions."""

    def evaluate(
        self, package: Package, test: Sequence[Path], settings: Mapping[str, Any], device: str
    ) -> pd.DataFrame:
        """The validation protocol on held-out subjects.

        Args:
            package: any package of this system.
            test: data set files of the test part.
            settings: the system's settings (sub-block ``evaluation`` says what is scored).
            device: ``cpu`` or ``cuda``.

        Returns:
            Rows of :data:`scan2map.evaluation.model_table.COLUMNS`: one value per subject, method, condition and
            metric.
        """
