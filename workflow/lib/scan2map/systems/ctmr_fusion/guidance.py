"""Guidance of Algorithm 1: the image is pulled towards the MRI in the brain, the CT in bone, and a clear lesion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from monai.losses import DiceLoss, HausdorffDTLoss

from scan2map.systems.ctmr_fusion.similarity import dissimilarity

MIDPOINT = 0.5
SURFACE_WEIGHT = 0.1

Head = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Preset(NamedTuple):
    """Weights of brain (α), bone (β) and lesion (γ) in Algorithm 1."""

    brain: float
    bone: float
    lesion: float


PRESETS = {
    "stroke": Preset(1.0, 1.2, 3.0),
    "brain_tumour": Preset(1.5, 0.5, 2.0),
    "bone_tumour": Preset(0.5, 2.0, 2.0),
    "metastasis": Preset(1.0, 1.0, 3.0),
}


class Regions(NamedTuple):
    """What guidance knows of a place, each (batch, 1, x, y, z).

    Attributes:
        mri, bone_ct: sources, −2 to 2.
        brain, bone: masks.
        lesion: mask of lesion predicted from MRI and CT together. The expert's mask is never used: it is what is
            scored.
    """

    mri: torch.Tensor
    bone_ct: torch.Tensor
    brain: torch.Tensor
    bone: torch.Tensor
    lesion: torch.Tensor


def lesion_loss(probability: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
    """Dice loss plus a surface term that has a gradient (distance-transform Hausdorff; Karimi and Salcudean 2020).

    NSD and HD95, which Algorithm 1 names, are constant almost everywhere and have no gradient: they are only reported.
    """
    surface = HausdorffDTLoss(include_background=True, reduction="mean")(probability, lesion)
    return DiceLoss(include_background=True)(probability, lesion) + SURFACE_WEIGHT * surface


def region_losses(image: torch.Tensor, regions: Regions, preset: Preset, head: Head | None) -> dict[str, torch.Tensor]:
    """Weighted losses of Algorithm 1, lines 11 to 13, each a number.

    Args:
        image: predicted fused image, −2 to 2.
        regions: of the same place.
        preset: weights.
        head: lesion probability of an image and its brain; ``None`` before the midpoint.
    """
    parts = {
        "brain": preset.brain * dissimilarity(image, regions.mri, regions.brain).sum(),
        "bone": preset.bone * dissimilarity(image, regions.bone_ct, regions.bone).sum(),
    }
    if head is not None and bool(regions.lesion.any()):
        parts["lesion"] = preset.lesion * lesion_loss(head(image, regions.brain), regions.lesion.to(image.dtype))
    return parts


def _voxels(regions: Regions, part: str) -> torch.Tensor:
    """Size of a region: a mean over it has gradients that are smaller by this factor."""
    return getattr(regions, part).to(torch.float32).sum().clamp_min(1) / len(regions.mri)


def make_guide(
    regions: Regions, settings: Mapping[str, Any], head: Head
) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The change that a sampling step adds to its image (Algorithm 1, line 15): −η Σ ∇L.

    Gradients are taken at the predicted clean image, not at the noisy one: similarity of an image that is mostly noise
    says nothing, and a lesion head has never seen one. Each region's gradient is multiplied by its size, so that the
    step size η means the same in a small and in a large region.

    Args:
        regions: of the place.
        settings: block ``guidance``: ``preset``, ``step_size``.
        head: lesion probability of a fused image and its brain; it speaks from the midpoint of the sampling on (lines
            7 and 8).

    Returns:
        A function of the clean image (−1 to 1) and the share of steps done.
    """
    preset, step_size = PRESETS[settings["preset"]], settings["step_size"]
    with torch.inference_mode(False):  # copies that a gradient may pass
        regions = Regions(*(part.clone() for part in regions))

    def change(clean: torch.Tensor, done: float) -> torch.Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            image = (2 * clean.detach().clone()).requires_grad_()
            parts = region_losses(image, regions, preset, head if done >= MIDPOINT else None)
            loss = sum(_voxels(regions, name) * value for name, value in parts.items())
            gradient = torch.autograd.grad(loss, image)[0]
        return -step_size * gradient / 2

    return change
