"""From data set files to constants and patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scan2map.systems.bssfp_dti.channels import channel_constants
from scan2map.systems.bssfp_dti.mean_brain import mean_lattice, packed
from scan2map.systems.bssfp_dti.patches import Patches, as_subject
from scan2map.systems.bssfp_dti.representation import scaling
from scan2map.training.dataset import load_subject


def normalisation(train: Sequence[Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Ranges of the channels, and of the tensor's and its logarithm's elements, in the brains of the training part.

    Where the network begins from it, also the mean brain.
    """
    subjects = [load_subject(path)[0] for path in train]
    tensors = [session[:, arrays["mask"] > 0].T for arrays in subjects for session in arrays["tensor"]]
    values = [np.asarray(one, dtype=np.float32) for one in tensors]
    elements = {name: scaling(values, name == "log") for name in ("log", "raw")}
    found = {"channels": channel_constants(subjects), "elements": elements}
    if settings["network"]["prior_points"]:
        found["mean_brain"] = packed(mean_lattice(subjects, settings, found["channels"]))
    return found


def patches(paths: Sequence[Path], settings: Mapping[str, Any], *, augment: bool) -> Patches:
    """The source of patches of some subjects.

    Args:
        paths: data set files.
        settings: the system's settings.
        augment: whether to disturb them.
    """
    kind, modality = settings["parametrisation"], settings["modality"]
    size = settings["data"]["voxel_size_mm"]
    subjects = [as_subject(load_subject(path)[0], modality, kind, size) for path in paths]
    return Patches(subjects, modality, settings["patches"], augment)
