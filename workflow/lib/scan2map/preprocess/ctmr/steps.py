"""The steps of CT and clinical MRI on files: one grid, masks, intensities, the expert's lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.ctmr.hounsfield import check_hounsfield, check_right_angles
from scan2map.preprocess.ctmr.masks import bone_mask, normalise_in_brain, overlap
from scan2map.preprocess.ctmr.register import register_ct, register_mri
from scan2map.preprocess.registration import Transform, apply_transform, save_transform
from scan2map.provenance import write_sidecar
from scan2map.quality.gates import check_map

TISSUES = ("CSF", "GM", "WM")
# CT numbers that the median of a brain can have: water 0, white matter 25 to 32, grey matter 35 to 40, with partial
# volume of bone and a scanner that is off by a little.
BRAIN_RANGE_HU = (5.0, 60.0)
BRAIN_SHARE = 0.5
# The expert's mask may be stored as 0 and 1, 255 or 1000: above half of its highest value is lesion.
LESION_SHARE = 0.5


def choose_one(paths: Sequence, what: str) -> Path:
    """The only file of a role.

    Raises:
        DataError: there is none, or more than one.
    """
    if len(paths) != 1:
        raise DataError(
            f"The session must have one {what} image", found=", ".join(Path(path).name for path in paths) or "none",
            remedy="exclude all but one run (exclusions table), or choose another ctmr.contrast",
        )  # fmt: skip
    return Path(paths[0])


def _volume(path: Path, what: str) -> Image:
    image = load_image(path)
    data = np.squeeze(image.data)
    if data.ndim != 3 or np.ptp(data) == 0:
        raise DataError(
            f"The {what} image is not a volume with contrast", file=path, found=f"shape {data.shape}",
            remedy="export the series again",
        )  # fmt: skip
    return Image(data, image.affine)


def _save(path, data: np.ndarray, affine: np.ndarray, description: str, *, dtype=np.float32, **told) -> None:
    save_image(path, data, affine, dtype=dtype)
    write_sidecar(path, description=description, **told)


def align_ct(
    ct: Sequence, mri: Sequence, t1w, t1w_mask, tissues: Mapping[str, str], settings: Mapping, seed: int, *, output
) -> None:
    """Bring CT, brain mask and tissue maps onto the grid of the clinical MRI.

    Args:
        ct, mri: the session's files of the two roles.
        t1w, t1w_mask, tissues: preprocessed T1w image, its brain mask, its tissue fractions by label.
        settings: block ``ctmr``.
        seed: start of the registrations' random numbers.
        output: ``ct``, ``transform``, ``brain``, ``csf``, ``gm``, ``wm``.

    Raises:
        DataError: an image cannot be used (see :mod:`.hounsfield`), or a registration failed.
    """
    paths = choose_one(ct, "CT"), choose_one(mri, settings["contrast"].upper())
    scan = check_hounsfield(load_image(paths[0]), paths[0])
    check_right_angles(scan, paths[0])
    grid, mask = _volume(paths[1], settings["contrast"].upper()), load_image(t1w_mask)
    to_t1w = register_mri(grid, load_image(t1w), mask, seed).inverse()
    brain = apply_transform(Image((mask.data > 0).astype(np.float32), mask.affine), grid, to_t1w, "mean").data
    aligned = register_ct(scan, grid, brain > BRAIN_SHARE, seed)
    check_map(aligned.ct.data, brain > BRAIN_SHARE, name="CT inside the brain", unit="HU", median_range=BRAIN_RANGE_HU)
    told = {"step": "align_ct", "sources": [*paths, t1w, t1w_mask], "settings": dict(settings) | {"seed": seed}}
    _save(output["ct"], aligned.ct.data, grid.affine, "CT on the grid of the clinical MRI", units="HU", **told)
    save_transform(output["transform"], aligned.transform)
    write_sidecar(
        output["transform"], description="Rigid transform (ITK) that resamples the CT onto the clinical MRI",
        NormalisedMutualInformation=round(aligned.information, 4),
        NormalisedMutualInformationBefore=round(aligned.information_before, 4),
        BrainInsideSkull=round(aligned.enclosed, 4), **told,
    )  # fmt: skip
    _save(
        output["brain"], brain > BRAIN_SHARE, grid.affine, "Brain on the grid of the clinical MRI", dtype=np.uint8,
        Type="Brain", **told,
    )  # fmt: skip
    _save_tissues(tissues, grid, to_t1w, output, told)


def _save_tissues(tissues: Mapping[str, str], grid: Image, to_t1w: Transform, output, told: dict) -> None:
    for label in TISSUES:
        share = np.clip(apply_transform(load_image(tissues[label]), grid, to_t1w, "mean").data, 0, 1)
        description = f"Volume fraction of {label} on the grid of the clinical MRI"
        _save(output[label.lower()], share, grid.affine, description, units="1", **told)


def find_bone(ct: Image, settings: Mapping) -> np.ndarray:
    """Mask of bone by the engine of the settings (block ``ctmr.bone``)."""
    if settings["engine"] == "totalsegmentator":
        from scan2map.tools.totalsegmentator import segment_skull

        return segment_skull(ct, settings["weights"])
    return bone_mask(ct, settings["threshold_hu"], settings["least_volume_ml"])


def prepare_fusion(ct, mri: Sequence, brain, settings: Mapping, *, output) -> None:
    """Mask of bone, and MRI intensities relative to the brain.

    Args:
        ct, brain: what :func:`align_ct` wrote.
        mri: the session's files of the MRI's role.
        settings: block ``ctmr``.
        output: ``mri``, ``bone``.
    """
    path = choose_one(mri, settings["contrast"].upper())
    scan, inside, image = load_image(ct), load_image(brain), _volume(path, settings["contrast"].upper())
    require_same_grid(scan, image, names=("CT", "MRI"))
    told = {"step": "prepare_fusion", "settings": settings}
    bone = find_bone(scan, settings["bone"])
    within = round(overlap(bone, inside.data > 0), 4)
    _save(
        output["bone"], bone, image.affine, "Bone in the CT on the grid of the clinical MRI", dtype=np.uint8,
        Type="Bone", OverlapWithBrain=within, sources=[ct], **told,
    )  # fmt: skip
    values = normalise_in_brain(image.data, inside.data > 0)
    _save(
        output["mri"], values, image.affine, "MRI, 1st percentile and median inside the brain at -2 and 0", units="1",
        Contrast=settings["contrast"].upper(), sources=[path, brain], **told,
    )  # fmt: skip


def map_lesion(lesion: Sequence, grid, *, output) -> None:
    """The expert's lesion mask on the grid of the clinical MRI; empty where the expert saw none.

    Args:
        lesion: the session's files of that role, drawn in the world of the MRI.
        grid: an image on the MRI's grid.
        output: path.
    """
    path, reference = choose_one(lesion, "expert lesion mask"), load_image(grid)
    drawn = load_image(path)
    inside = drawn.data > LESION_SHARE * max(float(drawn.data.max()), 1e-6)
    mask = apply_transform(Image(inside.astype(np.uint8), drawn.affine), reference, Transform(), "nearest").data
    volume_ml = float(mask.sum() * np.prod(reference.voxel_size_mm) / 1000)
    _save(
        output, mask, reference.affine, "Lesion as drawn by an expert", dtype=np.uint8, step="map_lesion",
        sources=[path], Type="Lesion", Volume={"Value": round(volume_ml, 3), "Units": "ml"},
    )  # fmt: skip
