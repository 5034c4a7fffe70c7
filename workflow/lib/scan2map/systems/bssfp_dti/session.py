"""A scanned session through the network: axes of the grid in, world axes out, the measured tensor beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from scan2map.config import check_block
from scan2map.errors import SettingError
from scan2map.images import Image, load_image, require_same_grid
from scan2map.physics.diffusion import principal_direction, rotate_tensor, tensor_scalars
from scan2map.preprocess.bssfp.steps import INCREMENTS
from scan2map.preprocess.registration import load_transform, voxel_centres
from scan2map.provenance import sidecar_path
from scan2map.systems.bssfp_dti.channels import brain_mean
from scan2map.systems.bssfp_dti.cohort import DIFFUSIVITY_UNIT, real_parts
from scan2map.systems.bssfp_dti.prediction import Translator
from scan2map.systems.bssfp_dti.representation import grid_axes

if TYPE_CHECKING:
    from scan2map.training.package import Package

CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
IMAGES = ("magnitude", "phase", "t1w", "mask", "tensor")
VOXEL_TOLERANCE = 0.1
TIMING_TOLERANCE = 0.05


class Axes:
    """Images of a session with their axes pointing right, anterior, superior, and back.

    Args:
        grid: gives the affine and the shape.
    """

    def __init__(self, grid: Image):
        shape = grid.data.shape[:3]
        self._there = io_orientation(grid.affine)
        self._back = ornt_transform(CANONICAL, self._there)
        self.affine = grid.affine @ inv_ornt_aff(self._there, shape)
        self.rotation = grid_axes(self.affine)

    def turned(self, data: np.ndarray) -> np.ndarray:
        """Channels first (channels, x, y, z) in canonical axes, of an image (x, y, z) or (x, y, z, channels)."""
        moved = apply_orientation(data, self._there)
        return np.moveaxis(moved, -1, 0) if moved.ndim == 4 else moved[None]

    def restored(self, data: np.ndarray) -> np.ndarray:
        """The image on its own grid, of (channels, x, y, z) or (x, y, z) in canonical axes."""
        return apply_orientation(np.moveaxis(data, 0, -1) if data.ndim == 4 else data, self._back)


def load_arrays(inputs: Mapping[str, Path], axes: Axes) -> dict[str, np.ndarray]:
    """A session as the arrays of a data set file: one bSSFP session, one measured tensor along the grid.

    Args:
        inputs: files by the names of the system's ``inputs``.
        axes: of the diffusion grid.

    Raises:
        DataError: the files are on different grids.
    """
    images = {name: load_image(inputs[name]) for name in IMAGES}
    for name, image in images.items():
        require_same_grid(images["mask"], image, names=("brain mask", name))
    signal = images["magnitude"].data * np.exp(1j * images["phase"].data)
    measured = rotate_tensor(images["tensor"].data / np.float32(DIFFUSIVITY_UNIT), axes.rotation.T)
    return {
        "bssfp": real_parts(axes.turned(signal))[None].astype(np.float32),
        "t1w": axes.turned(images["t1w"].data)[0],
        "mask": axes.turned(images["mask"].data)[0] > 0,
        "tensor": axes.turned(measured)[None].astype(np.float32),
        "registered_mm": template_points(inputs, axes, axes.turned(images["mask"].data)[0].shape),
    }


def template_points(inputs: Mapping[str, Path], axes: Axes, shape: tuple[int, ...]) -> np.ndarray:
    """Where each voxel lies in MNI152 by the rail's registrations, mm (3, x, y, z), in canonical axes."""
    to_t1w, to_template = load_transform(inputs["dwi_to_t1w"]).inverse(), load_transform(inputs["template"])
    points = to_template.points(to_t1w.points(voxel_centres(shape, axes.affine)))
    return np.moveaxis(points.reshape(*shape, 3), -1, 0).astype(np.float32)


def _maps(tensors: np.ndarray, mask: np.ndarray, axes: Axes) -> dict[str, np.ndarray]:
    """Scalar maps and, in world axes and mm²/s, tensor and direction; canonical (channels, x, y, z) arrays."""
    world = rotate_tensor(np.moveaxis(tensors, 0, -1).astype(float), axes.rotation)
    scalars = tensor_scalars(world)
    found = {"fa": scalars.fa}
    found |= {name: getattr(scalars, name) * DIFFUSIVITY_UNIT for name in ("md", "ad", "rd")}
    found = {name: values * mask for name, values in found.items()}
    direction = np.moveaxis(principal_direction(world) * mask[..., None], -1, 0)
    return found | {
        "tensor": np.moveaxis(world * DIFFUSIVITY_UNIT * mask[..., None], -1, 0),
        "direction": direction,
        "colours": np.abs(direction) * found["fa"],
    }


def _beside(tensors: np.ndarray, name: str, mask: np.ndarray, axes: Axes) -> dict[str, np.ndarray]:
    """What is shown of another tensor image beside the prediction."""
    maps = _maps(tensors, mask, axes)
    return {f"{kind}_{name}": maps[kind] for kind in ("fa", "md", "colours")}


def predict_session(package: Package, inputs: Mapping[str, Path], device: str) -> dict[str, Image]:
    """The maps of one session.

    Args:
        package: its members are averaged before the tensor is formed; their spread in FA and MD is the uncertainty.
        inputs: files by the names of the system's ``inputs``.
        device: where it computes.

    Raises:
        SettingError: the package translates something that a session does not have.
    """
    if package.settings["modality"] == "template":
        raise SettingError(
            "A template predictor is a baseline of the validation", found=package.name, allowed="a network"
        )
    grid = load_image(inputs["mask"])
    axes = Axes(grid)
    arrays = load_arrays(inputs, axes)
    translators = [Translator(one, package.settings, package.normalisation, device) for one in package.members]
    scaled = [one.scaled(arrays, 0) for one in translators]
    mask, first = arrays["mask"], translators[0]
    found = _maps(first.tensors(scaled, mask), mask, axes)
    members = [_maps(first.tensors([one], mask), mask, axes) for one in scaled]
    found |= {f"{name}_sd": np.std([one[name] for one in members], axis=0) for name in ("fa", "md")}
    found |= _beside(arrays["tensor"][0], "dwi", mask, axes)
    expected = [one.expected(arrays, 0) for one in translators]
    if first.network.prior is not None:
        found |= _beside(first.tensors(expected, mask), "template", mask, axes)
    found["signal"] = np.hypot(arrays["bssfp"][0, 0::2], arrays["bssfp"][0, 1::2]).mean(0) * mask
    found["signal"] /= brain_mean(arrays["bssfp"][0], mask)
    return {name: Image(axes.restored(values).astype(np.float32), grid.affine) for name, values in found.items()}


def demands(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a package demands of a session: phase cycles and timing of the simulated scan, and the diffusion grid."""
    protocol = check_block("phantom", {})["bssfp"]
    cycles = protocol["phase_cycles"]
    size = settings["data"]["voxel_size_mm"]
    timing = {"tolerance": TIMING_TOLERANCE}
    return {
        "phase_cycle_increments_deg": {"equals": [360 * index / cycles for index in range(cycles)], "unit": "degrees"},
        "repetition_time_s": {"equals": protocol["repetition_time_s"], "unit": "s", **timing},
        "echo_time_s": {"equals": protocol["echo_time_s"], "unit": "s", **timing},
        "flip_angle_deg": {"equals": protocol["flip_angle_deg"], "unit": "degrees", **timing},
        "field_strength_t": {"equals": 3.0, "unit": "T", **timing},
        "voxel_size_mm": {
            "minimum": size * (1 - VOXEL_TOLERANCE), "maximum": size * (1 + VOXEL_TOLERANCE), "unit": "mm",
        },
    }  # fmt: skip


def read_acquisition(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """The quantities of :func:`demands` of one session."""
    sidecar = json.loads(sidecar_path(inputs["magnitude"]).read_text())
    affine = nib.load(inputs["mask"]).affine
    return {
        "phase_cycle_increments_deg": sidecar.get(INCREMENTS),
        "repetition_time_s": sidecar.get("RepetitionTime"),
        "echo_time_s": sidecar.get("EchoTime"),
        "flip_angle_deg": sidecar.get("FlipAngle"),
        "field_strength_t": sidecar.get("MagneticFieldStrength"),
        "voxel_size_mm": np.linalg.norm(affine[:3, :3], axis=0).tolist(),
    }
