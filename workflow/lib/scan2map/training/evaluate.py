"""Run a system's validation protocol on a package, on subjects that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scan2map.errors import DataError
from scan2map.evaluation.long_table import write_table
from scan2map.evaluation.model_table import DICTIONARY
from scan2map.systems import load_system
from scan2map.training import devices
from scan2map.training.package import load_package, require_held_out


def subject_of(path) -> str:
    """Label of a data set file."""
    return Path(path).name.removeprefix("sub-").removesuffix(".safetensors")


def evaluate_package(
    package_folder, test: Sequence, out, *, variant: str, settings: Mapping[str, Any], compute: Mapping[str, Any]
) -> None:
    """Write the long table of a package's validation.

    Args:
        package_folder: the package.
        test: data set files of held-out subjects.
        out: the table.
        variant: what the package is called in the table.
        settings: the system's settings; the sub-block ``evaluation`` decides what is scored.
        compute: block ``compute`` of the model file.

    Raises:
        DataError: the package has seen one of the subjects, or the table has other columns.
    """
    import torch

    package = load_package(package_folder, compute["device"])
    devices.require(compute, package.system)
    require_held_out(package, map(subject_of, test))
    torch.set_num_threads(compute["threads"])
    with torch.inference_mode():
        table = load_system(package.system).evaluate(
            package, [Path(path) for path in test], settings, compute["device"]
        )
    if list(table.columns) != list(DICTIONARY):
        raise DataError("The validation has other columns", found=list(table.columns), allowed=list(DICTIONARY))
    write_table(table.assign(variant=variant), out)
