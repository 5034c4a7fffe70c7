"""Apply a package to one session and write its maps with their sidecars."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from scan2map.bids.names import bids_path
from scan2map.errors import DataError, SettingError
from scan2map.images import save_image
from scan2map.logs import collected_warnings
from scan2map.provenance import write_sidecar
from scan2map.systems import load_system
from scan2map.training import devices
from scan2map.training.files import PredictedMap
from scan2map.training.package import Package, check_session, load_package
from scan2map.training.system import Description


def map_name(wanted: PredictedMap, subject: str, session: str) -> str:
    """Name of a map inside the session's folder of predictions, ``perf/sub-01_ses-01_desc-x_cbf.nii.gz``."""
    path = bids_path(wanted.datatype, wanted.suffix, sub=subject, ses=session, **wanted.entities)
    return path.split("/", 2)[2]


def present_maps(system: str, folder, subject: str, session: str) -> tuple[PredictedMap, ...]:
    """The maps that a system wrote for a session: which of its maps these are may depend on the session's data.

    Raises:
        DataError: there are none.
    """
    maps = load_system(system).description.maps
    found = tuple(wanted for wanted in maps if (Path(folder) / map_name(wanted, subject, session)).is_file())
    if not found:
        raise DataError(f"{system} left no map of the session", file=folder, remedy="predict it again")
    return found


def predict_maps(
    system: str, package_folder, inputs: Mapping[str, str], folder, *, subject: str, session: str, compute: Mapping,
    checkpoints,
) -> None:  # fmt: skip
    """Predict the maps of one session.

    Args:
        system: its name.
        package_folder: the model package.
        inputs: files of the session by the names of the system's ``inputs``.
        folder: folder of the session's maps; written whole or not at all.
        subject, session: labels.
        compute: block ``compute`` of the model file.
        checkpoints: folder where a system that fits the session keeps its state until the maps are written.

    Raises:
        DataError: the session was not acquired as the package demands, or the result is not finite.
        SettingError: the package is damaged, or the named device is not there.
    """
    import torch

    devices.require(compute, system)
    torch.set_num_threads(compute["threads"])
    package = load_package(package_folder, compute["device"])
    if package.system != system:
        raise SettingError("The package belongs to another system", found=package.system, allowed=system)
    files = {name: Path(path) for name, path in inputs.items()}
    check_session(package, files)
    description = load_system(system).description
    state = {"checkpoints": Path(checkpoints)} if description.fits_session else {}
    with torch.inference_mode(), collected_warnings() as warnings:
        images = load_system(system).predict(package, files, compute["device"], **state)
    _require_companions(description, images)
    told = {"sources": files.values(), "settings": _told_settings(package)}
    told |= {"Reason": " ".join(warnings)} if warnings else {}
    _write(package, images, Path(folder), (subject, session), told)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _require_companions(description: Description, images: Mapping) -> None:
    """Stop at a prediction without its baseline or uncertainty, or at no prediction at all."""
    needed = [wanted for wanted in description.maps if wanted.of in images and not wanted.optional]
    expected = {wanted.name for wanted in description.maps if wanted.name in images or wanted in needed}
    if not images or expected != set(images):
        raise DataError("The maps are not those of the system", found=sorted(images), allowed=sorted(expected))


def _told_settings(package: Package) -> dict:
    """What a sidecar tells of the package; one network is fitted to a session, however many the package holds."""
    members = 1 if load_system(package.system).description.fits_session else len(package.members)
    return {"system": package.system, "variant": package.config["variant"], "members": members}


def _write(package: Package, images: Mapping, folder: Path, names: tuple[str, str], told: Mapping) -> None:
    """All maps of a session (subject, session) and their sidecars, or nothing; ``told`` goes into each sidecar."""
    import numpy as np

    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    written = (wanted for wanted in load_system(package.system).description.maps if wanted.name in images)
    for wanted in written:
        image = images[wanted.name]
        if not np.isfinite(image.data).all():
            remedy = "look at the session's input maps"
            raise DataError(f"{package.name} predicts values of {wanted.name} that are not numbers", remedy=remedy)
        path = partial / map_name(wanted, *names)
        save_image(path, image.data, image.affine)
        _sidecar(path, package, wanted, told)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def _sidecar(path: Path, package: Package, wanted: PredictedMap, told: Mapping) -> None:
    description = load_system(package.system).description
    write_sidecar(
        path,
        step=f"predict_{package.system}",
        description=wanted.description,
        units=wanted.unit,
        Model={
            "Package": package.name,
            "Title": description.title,
            "TrainedOn": trained_on(description),
            "Role": wanted.role,
        },
        **told,
    )


def trained_on(description: Description) -> str:
    """Whose data the networks behind a map have seen, in words."""
    if description.fits_session:
        return "this session's own scan"
    return "simulated subjects" if description.cohort == "phantom" else "subjects of the study"
