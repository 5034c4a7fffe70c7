"""A scanned session as the network's input: its mean difference image in network units; and its maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid
from scan2map.preprocess.asl.metadata import CONTINUOUS, Labelling, load_labelling
from scan2map.preprocess.asl.quantify import consensus_cbf
from scan2map.systems.asl_denoise.baselines import gaussian
from scan2map.systems.asl_denoise.labelling import UNIT_CBF
from scan2map.systems.asl_denoise.tiles import denoise

if TYPE_CHECKING:
    from scan2map.training.package import Package

# What the unit of the networks leaves open (docs/asl-denoise.md): delays and durations far from any use of PCASL.
DELAY_RANGE_S, DURATION_RANGE_S = (0.7, 3.0), (1.0, 3.0)
BASELINE_WIDTH_VOXELS = 1.0
ON_ITS_GRID = {"m0": "M0 image", "mask": "brain mask", "grey": "grey matter map", "white": "white matter map"}
CONSTANTS = {"efficiency": "LabelingEfficiency", "blood_t1_s": "BloodT1", "partition": "PartitionCoefficient"}


def demands(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a package demands of a session: PCASL with one delay (or its own delays), voxels as large as in training."""
    simulation = settings["simulation"]
    low, high = simulation["voxel_mm"]
    several = list(simulation["delays_s"])
    delays = {"equals": several} if several else {"minimum": DELAY_RANGE_S[0], "maximum": DELAY_RANGE_S[1]}
    return {
        "labelling": {"one_of": list(CONTINUOUS)},
        "delays": {"equals": max(1, len(several))},
        "post_label_delay_s": {**delays, "unit": "s"},
        "label_duration_s": {"minimum": DURATION_RANGE_S[0], "maximum": DURATION_RANGE_S[1], "unit": "s"},
        "voxel_mm": {"minimum": low, "maximum": high, "unit": "mm"},
    }


def read_acquisition(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """The quantities of :func:`demands` of one session; the voxel size is that in the slice."""
    labelling, image = load_labelling(inputs["labelling"]), load_image(inputs["difference"])
    used = labelling.volumes_of("control", "label", "deltam")
    return {
        "labelling": labelling.kind,
        "delays": len(labelling.labelled_delays_s),
        "post_label_delay_s": list(labelling.labelled_delays_s),
        "label_duration_s": sorted({labelling.durations_s[index] for index in used}),
        "voxel_mm": [float(size) for size in image.voxel_size_mm[:2]],
    }


def _constants(difference: Path) -> dict[str, float]:
    """Constants of the consensus formula as ``quantify_cbf`` used them, from the sidecar of the difference image."""
    sidecar = difference.with_name(difference.name.removesuffix(".nii.gz") + ".json")
    content = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
    missing = [name for name in CONSTANTS.values() if not isinstance(content.get(name), int | float)]
    if missing:
        raise DataError(
            "The sidecar of the difference image does not say how perfusion is quantified", file=sidecar,
            found=f"no {', '.join(missing)}", remedy="delete the difference image and run again",
        )  # fmt: skip
    return {key: float(content[name]) for key, name in CONSTANTS.items()}


def network_units(
    difference: np.ndarray, m0: np.ndarray, mask: np.ndarray, labelling: Labelling, constants: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """A difference image in the unit of the networks, and M0 over its median in the brain.

    Args:
        difference: control minus label (x, y, z).
        m0: calibrated M0, same units.
        mask: brain, where M0 is above 0.
        labelling: delay and duration; each slice of a 2-D readout has its own delay.
        constants: ``efficiency``, ``blood_t1_s``, ``partition``.

    Returns:
        Signal (1 where M0 is the median and perfusion 60 ml/100g/min) and relative M0 (1 outside the brain), (x, y, z).
    """
    median = float(np.median(m0[mask]))
    factor = consensus_cbf(np.ones_like(difference), np.ones_like(difference), labelling, **constants)
    signal = np.where(mask, difference * factor / (UNIT_CBF * median), 0)
    return signal.astype(np.float32), np.where(mask, m0 / median, 1).astype(np.float32)


def _slices(volume: np.ndarray) -> torch.Tensor:
    """A volume (x, y, z) as a batch of its slices (z, 1, x, y)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(volume, 2, 0), dtype=np.float32))[:, None]


def _volume(slices: torch.Tensor) -> np.ndarray:
    return np.moveaxis(slices[:, 0].cpu().numpy(), 0, 2)


def denoise_volume(
    members, signal: np.ndarray, anatomy: Sequence[np.ndarray], mask: np.ndarray, device: str = "cpu"
) -> np.ndarray:
    """Mean of the members' denoised images of a volume in network units, slice by slice.

    Args:
        members: networks.
        signal: difference image in network units (x, y, z).
        anatomy: relative M0, grey and white matter on the same grid.
        mask: brain.
        device: where the members are.
    """
    noisy, inside = _slices(signal).to(device), _slices(mask).to(device)
    guide = torch.cat([_slices(one) for one in anatomy], dim=1).to(device) * inside
    return _volume(torch.stack([denoise(network, noisy, guide, inside) for network in members]).mean(0))


def predict_session(package: Package, inputs: Mapping[str, Path], device: str) -> dict[str, Image]:
    """Perfusion from the denoised, the plain and the smoothed average of one session, and what denoising took away.

    Raises:
        DataError: the images are on different grids, there is no brain, or the quantification is not documented.
    """
    difference = load_image(inputs["difference"])
    m0, brain, grey, white = (load_image(inputs[name]) for name in ON_ITS_GRID)
    for name, image in zip(ON_ITS_GRID.values(), (m0, brain, grey, white), strict=True):
        require_same_grid(difference, image, names=("difference image", name))
    mask = (brain.data > 0) & (m0.data > 0)
    if not mask.any():
        raise DataError("There is no brain in the session's mask", file=inputs["mask"], remedy="look at the M0 image")
    labelling, constants = load_labelling(inputs["labelling"]), _constants(Path(inputs["difference"]))
    signal, relative_m0 = network_units(difference.data, m0.data, mask, labelling, constants)
    smooth = _volume(gaussian(_slices(signal), _slices(mask), BASELINE_WIDTH_VOXELS))
    signals = {"cbf_averaged": signal, "cbf_smoothed": smooth}
    signals["cbf"] = denoise_volume(package.members, signal, (relative_m0, grey.data, white.data), mask, device)
    maps = {name: UNIT_CBF * image / relative_m0 for name, image in signals.items()}
    maps["residual"] = maps["cbf_averaged"] - maps["cbf"]
    return {name: Image(data.astype(np.float32), difference.affine) for name, data in maps.items()}
