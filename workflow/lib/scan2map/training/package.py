"""Model packages: weights in safetensors, everything that prediction needs in JSON, hashes over all of it.

A package is a folder::

    model.safetensors   weights of all members, named <member>.<parameter>
    config.json         system, settings, normalisation, acquisition, seeds, data and code hashes, figures
    card.json, card.md  what it is for, what it learned from, what it cannot do, its numbers
    metrics.tsv         its validation table (where it was validated)
    manifest.json       SHA-256 of every other file
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scan2map.config import check_block, load_system_schema
from scan2map.errors import DataError, SettingError
from scan2map.provenance import commit, write_json
from scan2map.systems import load_system
from scan2map.training.acquisition import check_acquisition

if TYPE_CHECKING:
    import torch

FORMAT = 1
WEIGHTS, CONFIG, MANIFEST = "model.safetensors", "config.json", "manifest.json"
# What the members of one package must have in common.
SHARED = ("system", "variant", "fold", "settings", "normalisation", "data_sha256", "source_sha256")
COST = ("seed", "steps", "packaged_step", "training_s", "samples_per_s", "gpu_memory_mb", "device_name", "processes")


@dataclass(frozen=True)
class Package:
    """A loaded package.

    Attributes:
        folder: where it lies.
        config: content of ``config.json``.
        members: the networks, in evaluation mode, one per seed.
    """

    folder: Path
    config: Mapping[str, Any]
    members: tuple[torch.nn.Module, ...]

    @property
    def system(self) -> str:
        """Name of its system."""
        return self.config["system"]

    @property
    def name(self) -> str:
        """System, variant and the first digits of its hash."""
        return f"{self.system}/{self.config['variant']}@{self.config['weights_sha256'][:12]}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The system's settings that it was trained with."""
        return self.config["settings"]

    def judged_by(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that it was trained with, but the evaluation of the study that judges it."""
        return {**self.settings, "evaluation": settings["evaluation"]}

    @property
    def normalisation(self) -> Mapping[str, Any]:
        """Constants of its training part."""
        return self.config["normalisation"]


def read_summary(path) -> dict[str, Any]:
    """The figures of a finished training."""
    return json.loads(Path(path).read_text())


def _hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    """Hash of every file by its name, but for the manifest and hidden files (Snakemake's time stamp)."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {path.name: _hash(path) for path in files if path.name != MANIFEST}


def write_manifest(folder) -> None:
    """Write the hashes of all files of a package."""
    write_json(Path(folder) / MANIFEST, _hashes(Path(folder)))


def verify(folder) -> None:
    """Stop unless a package is whole and unchanged.

    Raises:
        SettingError: no package, a missing, changed or surplus file.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        remedy = "train one (package: trained), or name a folder that holds a package"
        raise SettingError("There is no model package here", file=folder, remedy=remedy)
    listed = json.loads((folder / MANIFEST).read_text())
    found = _hashes(folder)
    wrong = sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name))
    if wrong:
        raise SettingError(
            "The model package is damaged: files do not have the content that its manifest tells",
            file=folder,
            found=", ".join(wrong),
            remedy="copy the package again; never edit it by hand",
        )


def load_package(folder, device: str = "cpu") -> Package:
    """Load a package after checking its hashes; the weights are data, no code is loaded.

    Args:
        folder: of the package.
        device: where the networks go.

    Raises:
        SettingError: no package, damaged, of a newer format, or with settings that this version does not know.
    """
    from safetensors.torch import load_file

    verify(folder)
    folder = Path(folder)
    config = json.loads((folder / CONFIG).read_text())
    if config["format"] != FORMAT:
        raise SettingError(
            "The package has another format", file=folder, found=config["format"], allowed=FORMAT,
            remedy="use the version of scan2map that made it",
        )  # fmt: skip
    system = config["system"]
    config["settings"] = check_block(f"{folder.name}.settings", config["settings"], load_system_schema(system))
    weights = load_file(folder / WEIGHTS, device=device)
    members = tuple(_member(config, weights, number, device) for number in range(len(config["seeds"])))
    return Package(folder, config, members)


def _member(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], number: int, device: str):
    network = load_system(config["system"]).network(config["settings"], config["normalisation"])
    prefix = f"{number}."
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        remedy = "use the version of scan2map that made it (config.json names its commit)"
        problem = f"The weights do not fit the network ({error})"
        raise SettingError(problem, found=config["commit"], remedy=remedy) from None
    return network.to(device).eval()


def check_session(package: Package, inputs: Mapping[str, Path]) -> None:
    """Stop unless a session was acquired as the package demands.

    Raises:
        DataError: the message lists every difference.
    """
    found = load_system(package.system).read_acquisition(inputs)
    check_acquisition(package.config["acquisition"], found, package.name)


def _common(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = summaries[0]
    different = [key for key in SHARED if any(summary[key] != first[key] for summary in summaries)]
    if different:
        raise DataError(
            "The members of the package were not trained alike", found=different, remedy="train all of them again"
        )
    return {key: first[key] for key in SHARED}


def _config(summaries: Sequence[Mapping[str, Any]], split: Mapping[str, Sequence[str]], weights: bytes) -> dict:
    shared = _common(summaries)
    system = load_system(shared["system"])
    return {
        "format": FORMAT,
        **shared,
        "seeds": [summary["seed"] for summary in summaries],
        "acquisition": system.acquisition(shared["settings"]),
        "cohort": system.description.cohort,
        "subjects": {part: list(labels) for part, labels in split.items()},
        "training": summaries[0]["training"],
        "compute": summaries[0]["compute"],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "members": [{**summary["figures"], **{key: summary[key] for key in COST}} for summary in summaries],
        "software": summaries[0]["software"],
        "commit": commit(),
    }


def _stack(weights: Sequence) -> bytes:
    from safetensors.torch import load_file, save

    members = [load_file(path) for path in weights]
    return save({f"{number}.{name}": value for number, member in enumerate(members) for name, value in member.items()})


def write_package(weights: Sequence, summaries: Sequence, split: Mapping[str, Sequence[str]], folder) -> None:
    """Put trainings that differ in their seed alone together into one package.

    Args:
        weights: one ``.safetensors`` file per member.
        summaries: one JSON file per member, in the same order.
        split: labels of the subjects by part.
        folder: the package to write, whole or not at all.

    Raises:
        DataError: the members were not trained alike.
    """
    from scan2map.training.card import write_card

    content = _stack(weights)
    config = _config([read_summary(path) for path in summaries], split, content)

    def fill(partial: Path) -> None:
        (partial / WEIGHTS).write_bytes(content)
        write_json(partial / CONFIG, config)
        write_card(partial)

    _write_whole(folder, fill)


def _write_whole(folder, fill) -> None:
    """Fill a folder under a temporary name, seal it with its manifest, then rename it."""
    folder = Path(folder)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    write_manifest(partial)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def publish_package(package, metrics, folder) -> None:
    """A copy of a package with its validation table in it and in its card: what ships in ``resources/models``.

    Args:
        package: the folder to copy.
        metrics: validation table of this package.
        folder: where the copy goes.
    """
    from scan2map.training.card import METRICS, write_card

    verify(package)

    def fill(partial: Path) -> None:
        for name in (WEIGHTS, CONFIG):
            shutil.copyfile(Path(package) / name, partial / name)
        shutil.copyfile(metrics, partial / METRICS)
        write_card(partial)

    _write_whole(folder, fill)


def require_held_out(package: Package, subjects: Iterable[str]) -> None:
    """Stop unless subjects were neither trained nor selected on.

    Raises:
        DataError: a subject is in the package's train or validation part.
    """
    seen = set(package.config["subjects"]["train"]) | set(package.config["subjects"]["validation"])
    leaked = sorted(seen & set(subjects))
    if leaked:
        raise DataError(
            f"The model {package.name} has seen subjects that it is to be tested on",
            found=", ".join(leaked),
            remedy="test it on other subjects (config/split.tsv)",
        )
