"""Prediction for one session: its images brought to the network's plane, fused, and brought back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from scan2map.images import Image, load_image, require_same_grid
from scan2map.preprocess.ctmr.hounsfield import AIR_HU, BONE_WINDOW, apply_window
from scan2map.preprocess.ctmr.register import onto_grid
from scan2map.preprocess.registration import Transform, apply_transform
from scan2map.systems.ctmr_fusion.composite import roi_composite
from scan2map.systems.ctmr_fusion.evaluate import Case, Scorer
from scan2map.systems.ctmr_fusion.scenes import Scene

# The coarsest level of the denoiser has a quarter of the voxels per axis.
MULTIPLE = 8


def demands(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a package demands of a session: the contrast it learned, and slices about as thick as those it learned."""
    thickness = settings["data"]["voxel_size_mm"][2]
    return {
        "contrast": {"equals": "FLAIR"},
        "slice_distance_mm": {"minimum": 0.7 * thickness, "maximum": 1.4 * thickness, "unit": "mm"},
    }


def read_acquisition(inputs: Mapping[str, Path]) -> dict[str, Any]:
    """The same of a session."""
    import json

    from scan2map.provenance import sidecar_path

    mri = load_image(inputs["mri"])
    contrast = json.loads(sidecar_path(inputs["mri"]).read_text()).get("Contrast")
    return {"contrast": contrast, "slice_distance_mm": float(mri.voxel_size_mm[2])}


def network_grid(image: Image, voxel_mm: float) -> Image:
    """The grid of a session with another voxel size in the plane, as many slices, padded to what the network needs."""
    shape, scale = np.array(image.data.shape), np.array([*(voxel_mm / image.voxel_size_mm[:2]), 1.0])
    count = np.ceil(shape / scale / [MULTIPLE, MULTIPLE, 1]).astype(int) * [MULTIPLE, MULTIPLE, 1]
    affine = image.affine.copy()
    affine[:3, :3] = image.affine[:3, :3] * scale
    middle = image.affine[:3, :3] @ ((shape - 1) / 2) + image.affine[:3, 3]
    affine[:3, 3] = middle - affine[:3, :3] @ ((count - 1) / 2)
    return Image(np.empty(count, dtype=bool), affine)


def _share(mask: Image, grid: Image) -> np.ndarray:
    return apply_transform(Image((mask.data > 0).astype(np.float32), mask.affine), grid, Transform(), "mean").data > 0.5


def session_case(inputs: Mapping[str, Path], voxel_mm: float) -> tuple[Case, Image, Image]:
    """The session as a case on the network's grid; that grid; the MRI as it is."""
    ct, mri, brain, bone = (load_image(inputs[name]) for name in ("ct", "mri", "brain", "bone"))
    require_same_grid(ct, mri, names=("CT", "MRI"))
    grid = network_grid(mri, voxel_mm)
    lowest = float(mri.data.min())
    seen = apply_transform(Image(mri.data - lowest, mri.affine), grid, Transform(), "mean").data + lowest
    dense = np.maximum(onto_grid(ct, grid, Transform()).data, AIR_HU)
    bones = _share(bone, grid)
    inside = _share(brain, grid) & ~bones
    scene = Scene(seen, dense, dense, inside, bones, np.zeros_like(bones), grid.voxel_size_mm)
    bone_ct = apply_window(dense, BONE_WINDOW)
    return Case("", scene, bone_ct, scene.target("composite")), grid, mri


def predict_session(package, inputs: Mapping[str, Path], device: str) -> dict[str, Image]:
    """Fused image, lesion probability and their uncertainty of one session, on the grid of its MRI.

    Args:
        package: loaded, with members.
        inputs: ``ct``, ``mri``, ``brain``, ``bone``.
        device: of the networks.
    """
    settings = package.settings
    case, grid, mri = session_case(inputs, settings["data"]["voxel_size_mm"][0])
    scorer = Scorer(package.members, settings, device)
    images = scorer.draw(case, settings["sampling"]["ensemble"], guided=settings["guidance"]["enabled"])
    probability, _ = scorer.probabilities(images, case)
    maps = {
        "fused": images.mean(0)[0, 0].cpu().numpy() + 2,
        "fused_sd": scorer.uncertainty(images),
        "lesion": probability,
        "lesion_sd": np.sqrt(probability * (1 - probability)),
    }
    # Outside the network's grid there is nothing: the scale starts at 0 while images are brought back.
    back = {
        name: apply_transform(Image(values.astype(np.float32), grid.affine), mri, Transform(), "linear")
        for name, values in maps.items()
    }
    back["fused"] = Image(back["fused"].data - 2, mri.affine)
    ct, bone = load_image(inputs["ct"]), load_image(inputs["bone"])
    bone_ct = apply_window(ct.data, BONE_WINDOW)
    back["composite"] = Image(roi_composite(mri.data, bone_ct, bone.data > 0).astype(np.float32), mri.affine)
    return back | {"mri": mri, "ct": Image(bone_ct, mri.affine), "mask": head_mask(ct)}


def head_mask(ct: Image) -> Image:
    """The head of a CT in HU: everything denser than halfway from air to water, and what it encloses in each slice."""
    dense = np.moveaxis(ct.data > AIR_HU / 2, 2, 0)
    filled = np.stack([ndimage.binary_fill_holes(part) for part in dense], axis=2)
    return Image(filled.astype(np.float32), ct.affine)
