"""What a fused image should be, and the simple fusions that it is compared with.

Arrays are (x, y, z) on one scale from −2 to 2; the CT is seen through the bone window.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Transition between bone and everything else, voxels of the plane: fast enough to stay off the cortex.
FEATHER_VOXELS = 0.7
# The transition is this much weaker inside the brain, which keeps the cortex beneath the skull.
BRAIN_SHARE = 0.5
PYRAMID_LEVELS = 3


def bone_weight(bone: np.ndarray, brain: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Share of the CT in each voxel: 1 in bone, falling to 0 around it, less so in the brain, 0 in a lesion.

    Args:
        bone, brain: masks.
        lesion: mask; a lesion is shown as the MRI shows it, also where it touches bone.
    """
    soft = ndimage.gaussian_filter(bone.astype(np.float32), (FEATHER_VOXELS, FEATHER_VOXELS, 0))
    around = np.clip(2 * soft, 0, 1) * np.where(brain, BRAIN_SHARE, 1) * ~lesion
    return np.where(bone, 1, around).astype(np.float32)


def composite(mri, bone_ct, bone: np.ndarray, brain: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Bone from the CT, everything else from the MRI, with a transition instead of a seam: the target of training."""
    return mri + bone_weight(bone, brain, lesion) * (bone_ct - mri)


def roi_composite(mri: np.ndarray, bone_ct: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """The CT in bone and the MRI elsewhere, cut hard: by construction the best that the scores inside ROIs can find."""
    return np.where(bone, bone_ct, mri)


def average(mri: np.ndarray, bone_ct: np.ndarray) -> np.ndarray:
    """(MRI + CT) / 2."""
    return (mri + bone_ct) / 2


def weighted(mri: np.ndarray, bone_ct: np.ndarray) -> np.ndarray:
    """0.7 MRI + 0.3 CT."""
    return 0.7 * mri + 0.3 * bone_ct


def _smaller(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image, (1, 1, 0))[::2, ::2]


def _larger(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    grown = image.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]
    return ndimage.gaussian_filter(grown, (1, 1, 0))


def laplacian_pyramid(mri: np.ndarray, bone_ct: np.ndarray, levels: int = PYRAMID_LEVELS) -> np.ndarray:
    """On each scale the stronger detail of the two, on the coarsest their mean (Burt and Adelson 1983), per slice."""
    if levels == 0:
        return average(mri, bone_ct)
    below = [_smaller(image) for image in (mri, bone_ct)]
    details = [image - _larger(small, image.shape) for image, small in zip((mri, bone_ct), below, strict=True)]
    chosen = np.where(np.abs(details[0]) >= np.abs(details[1]), *details)
    return chosen + _larger(laplacian_pyramid(*below, levels - 1), mri.shape)


def simple_fusions(mri: np.ndarray, bone_ct: np.ndarray, bone: np.ndarray) -> dict[str, np.ndarray]:
    """Every fusion that needs no network, by name."""
    return {
        "average": average(mri, bone_ct),
        "weighted": weighted(mri, bone_ct),
        "maximum": np.maximum(mri, bone_ct),
        "laplacian": np.clip(laplacian_pyramid(mri, bone_ct), -2, 2),
        "roi_composite": roi_composite(mri, bone_ct, bone),
    }
