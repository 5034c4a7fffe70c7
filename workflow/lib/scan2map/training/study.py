"""The learned systems of a study as the rules see them: settings, split, packages, who predicts. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scan2map.errors import SettingError
from scan2map.evaluation.targets import target_variants
from scan2map.systems import load_system, system_names
from scan2map.training.settings import FIXED, MODEL_FOLDER, deciding, load_model, variant_of
from scan2map.training.split import PARTS, read_split, require_parts, subjects
from scan2map.training.system import Description

MODELS = "<results>/models"
TRAINED, SHIPPED = "trained", "shipped"
SHIPPED_FOLDER = Path("resources/models")
# Name of the space of the tissue maps of a datatype; the T1w image's own have none.
SPACES = {"perf": "asl", "dwi": "dwi", "ctmr": "mri"}
# What a job asks for, beside what it computes with.
REQUESTS = ("mem_mb", "runtime_min")
PREDICTION_MIN = 30


class Learning:
    """The block ``learning`` of a study, with everything it names.

    Args:
        settings: the block.
        folder: where the settings files of the systems lie.

    Raises:
        SettingError: an unknown system, a settings file or split table that is missing or not valid.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path = MODEL_FOLDER):
        self.systems: list[str] = list(settings["systems"])
        self.split_path = settings["split"]
        self.split = read_split(self.split_path)
        overrides = settings["overrides"]
        known = [name for name in system_names() if (folder / f"{name}.yaml").is_file()]
        names = dict.fromkeys([*known, *self.systems, *overrides])
        self.models = {name: load_model(name, overrides.get(name), folder) for name in names}

    def description(self, system: str) -> Description:
        """What a system says of itself."""
        return load_system(system).description

    def variant(self, system: str, variant: str) -> dict[str, Any]:
        """Settings of a variant; ``shipped`` stands for the settings of the system's own variant."""
        chosen = self.models[system]["variant"] if variant == SHIPPED else variant
        return variant_of(system, self.models[system], chosen)

    def compute(self, system: str) -> dict[str, Any]:
        """Where a system computes."""
        return self.models[system]["compute"]

    def gpus(self, system: str) -> int:
        """GPUs that a training asks for; none unless the settings say cuda."""
        compute = self.compute(system)
        return compute["devices"] * compute["nodes"] if compute["device"] == "cuda" else 0

    def prediction_minutes(self, system: str) -> int:
        """Time that a prediction asks for: that of a training where a prediction is one."""
        return self.compute(system)["runtime_min"] if self.description(system).fits_session else PREDICTION_MIN

    def data_settings(self, system: str) -> dict[str, Any]:
        """What decides the data set."""
        return self.models[system]["settings"].get(FIXED, {})

    def training_settings(self, system: str, variant: str) -> dict[str, Any]:
        """What a training of a variant needs to know."""
        found = self.variant(system, variant)
        compute = {key: value for key, value in found["compute"].items() if key not in REQUESTS}
        return {"settings": deciding(found["settings"]), "training": found["training"], "compute": compute}

    def parts(self, system: str, fold: str) -> dict[str, list[str]]:
        """Labels of the subjects of a fold, by part.

        Raises:
            SettingError: nobody to train or to test on.
        """
        cohort = self.description(system).cohort
        require_parts(self.split, cohort, fold, self.split_path)
        return {part: subjects(self.split, cohort, fold, part) for part in PARTS}

    def dataset(self, system: str, fold: str, part: str) -> list[str]:
        """Data set files of one part."""
        return [f"<results>/datasets/{system}/sub-{label}.safetensors" for label in self.parts(system, fold)[part]]

    def run(self, system: str, variant: str, fold: str) -> str:
        """Folder of the trainings of a variant and fold."""
        return f"{MODELS}/{system}/{variant}/fold-{fold}"

    def own(self, system: str) -> str:
        """The variant that stands for the system: what its settings name as package, or what this study trains."""
        model = self.models[system]
        return model["variant"] if model["package"] == TRAINED else SHIPPED

    def evaluations(self, system: str, targets) -> list[str]:
        """Tables of every package that the targets of a system speak of."""
        model = self.models[system]
        return [
            f"{self.run(system, variant, fold)}/evaluation.tsv"
            for variant in target_variants(targets, self.own(system))
            for fold in ([model["fold"]] if variant == SHIPPED else model["folds"])
        ]

    def members(self, system: str, variant: str, fold: str, name: str) -> list[str]:
        """One file of every member of an ensemble."""
        return [
            f"{self.run(system, variant, fold)}/seed-{seed}/{name}" for seed in self.variant(system, variant)["seeds"]
        ]

    def shipped(self, system: str) -> str:
        """Folder of the package that the settings name."""
        return str(self.models[system]["package"] or SHIPPED_FOLDER / system)

    def package(self, system: str, variant: str | None = None, fold: str | None = None) -> str:
        """Folder of a package: of a variant and fold, or the one that predicts in this study."""
        model = self.models[system]
        if variant == SHIPPED or (variant is None and model["package"] != TRAINED):
            return self._existing(system)
        return f"{self.run(system, variant or model['variant'], fold or model['fold'])}/package"

    def _existing(self, system: str) -> str:
        folder = self.shipped(system)
        if not Path(folder).is_dir():
            raise SettingError(
                f"There is no package of {system}",
                file=folder,
                remedy=f"set learning.overrides.{system}.package: {TRAINED} to train one in this study",
            )
        return folder

    def regions(self, system: str, derivative: Callable[..., str]) -> dict[str, str]:
        """Brain mask and tissue maps on the grid of a system's maps."""
        datatype = self.description(system).maps[0].datatype
        space = {"space": SPACES[datatype]} if datatype in SPACES else {}
        tissues = {name: derivative(datatype, "probseg", label=name, **space) for name in ("GM", "WM", "CSF")}
        return {"mask": derivative(datatype, "mask", desc="brain"), **tissues}

    def truth(self, system: str, derivative: Callable[..., str], root: str) -> dict[str, str]:
        """What is true about a system's maps in a simulated session, as ``true_<map>``."""
        maps = self.description(system).maps
        return {f"true_{item.name}": item.truth.path(derivative, root) for item in maps if item.truth}

    def sources(self, system: str, subject: str, derivative: Callable[..., str], sessions: list[str]) -> list[str]:
        """Files that a study subject's data set is made from: session after session, in the order of ``sources``."""
        wanted = self.description(system).sources.values()
        return [
            file.path(derivative, "<results>/derivatives/scan2map").format(subject=subject, session=session)
            for session in sessions
            for file in wanted
        ]
