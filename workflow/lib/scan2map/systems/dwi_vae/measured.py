"""Scans from files: data-set files of this system, and preprocessed sessions."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from scan2map.errors import DataError
from scan2map.systems.dwi_vae.scans import Scan, prepare_scan
from scan2map.systems.dwi_vae.signal_models import signal_model
from scan2map.systems.dwi_vae.voxels import Acquisition, acquisition_of

LOGGER = logging.getLogger("scan2map")
FEWEST_REPEATS = 3  # volumes of one shell and direction from which noise is estimated


class Session(NamedTuple):
    """A preprocessed session.

    Attributes:
        signals: (n, m) brain voxels in C order of the mask.
        mask: (x, y, z).
        affine: voxel to world.
        acquisition: each volume by itself, directions in world axes.
        sigma: noise of one channel, scanner units.
    """

    signals: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    acquisition: Acquisition
    sigma: float


def noise_sigma(signals: np.ndarray, acquisition: Acquisition) -> float:
    """Noise of one channel: root mean square over voxels of the spread of b = 0 volumes, medians against outliers.

    Where there are too few b = 0 volumes, the residuals of spherical harmonics in the lowest shell take over.

    Args:
        signals: (n, m), scanner units.
        acquisition: each volume by itself.
    """
    b0 = (acquisition.b_values == 0).numpy()
    if b0.sum() >= FEWEST_REPEATS:
        return float(np.sqrt(np.median(signals[:, b0].var(1, ddof=1))))
    return _residual_sigma(signals, acquisition)


def _residual_sigma(signals: np.ndarray, acquisition: Acquisition) -> float:
    """Spread of the residuals of spherical harmonics of order 4 (few directions: 2) in the lowest shell."""
    from dipy.reconst.shm import real_sh_descoteaux_from_index, sph_harm_ind_list

    shell = acquisition.shells[1]
    members = acquisition.b_values == shell
    x, y, z = acquisition.directions[members].numpy().T
    count = int(members.sum())
    order = next((order for order in (4, 2) if count > len(sph_harm_ind_list(order)[0]) + 1), None)
    if order is None:
        raise DataError(
            "The noise of the scan cannot be estimated",
            found=f"{int((acquisition.b_values == 0).sum())} volumes at b = 0, {count} at {shell:g} s/mm²",
            allowed=f"{FEWEST_REPEATS} b = 0 volumes, or more than 7 directions in the lowest shell",
        )
    polar, azimuth = np.arccos(np.clip(z, -1, 1)), np.arctan2(y, x)
    basis = real_sh_descoteaux_from_index(*sph_harm_ind_list(order), polar[:, None], azimuth[:, None], legacy=False)
    rest = np.eye(len(basis)) - basis @ np.linalg.pinv(basis)
    squares = ((signals[:, members.numpy()] @ rest) ** 2).sum(1) / np.trace(rest)
    return float(np.sqrt(np.median(squares)))


def read_session(inputs: Mapping[str, Path]) -> Session:
    """A preprocessed session.

    Args:
        inputs: ``dwi``, ``bval``, ``bvec`` and ``mask``.

    Raises:
        DataError: a file cannot be read, the grids differ, or there are no b = 0 volumes.
    """
    from scan2map.images import load_image, require_same_grid
    from scan2map.preprocess.dwi.gradients import read_gradients

    dwi, mask = load_image(inputs["dwi"]), load_image(inputs["mask"])
    require_same_grid(dwi, mask, names=("the diffusion series", "its brain mask"))
    table = read_gradients(inputs["bval"], inputs["bvec"], dwi.data.shape[-1])
    acquisition = acquisition_of(table.shells, table.world_directions(dwi.affine))
    if not (acquisition.b_values == 0).any():
        raise DataError("The scan has no volume without diffusion weighting", file=inputs["bval"])
    inside = mask.data > 0.5
    signals = np.maximum(dwi.data[inside].astype(np.float64), 0)
    return Session(signals, inside, dwi.affine, acquisition, noise_sigma(signals, acquisition))


def save_session(session: Session, path: Path) -> None:
    """Write a session as a data-set file, so that the shared training path can learn from it."""
    from scan2map.training.dataset import save_subject

    arrays = {"mask": session.mask, "signals": session.signals.astype(np.float32)}
    table = session.acquisition
    arrays |= {"b_values": table.b_values.numpy(), "directions": table.directions.numpy()}
    save_subject(path, arrays, sigma=session.sigma, measured=True)


# Settings that decide what a prepared scan is; of the network, these two.
PREPARING = ("model", "b_max_s_per_mm2", "simulation")
PREPARING_NETWORK = ("design", "spatial")
KEPT_SCANS = 16


def load_scan(path: Path, settings: Mapping[str, Any]) -> Scan:
    """The scan of a data-set file: the measured one, or the simulated one that the settings describe.

    The latest ones are kept: a training asks for its constants, its samples and its validation.
    """
    path = Path(path)
    network = {key: settings["network"][key] for key in PREPARING_NETWORK}
    deciding = {key: settings[key] for key in PREPARING} | {"network": network}
    return _loaded(path.resolve(), path.stat().st_mtime_ns, json.dumps(deciding, sort_keys=True))


@lru_cache(maxsize=KEPT_SCANS)
def _loaded(path: Path, changed_ns: int, deciding: str) -> Scan:
    from scan2map.systems.dwi_vae.simulate import simulate_scan
    from scan2map.training.dataset import load_subject

    settings = json.loads(deciding)
    arrays, facts = load_subject(path)
    if not facts["measured"]:
        return simulate_scan(arrays, facts, settings)
    acquisition = acquisition_of(arrays["b_values"], arrays["directions"])
    mask = arrays["mask"].astype(bool)
    signals = torch.from_numpy(arrays["signals"])
    return prepare_scan(signal_model(settings["model"]), signals, facts["sigma"], acquisition, mask, settings)
