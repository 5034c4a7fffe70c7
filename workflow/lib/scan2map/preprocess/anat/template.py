"""The MNI152 template on the subject's T1w image, and the atlas regions that come with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scan2map.errors import DataError, SettingError
from scan2map.images import Image, load_image, require_same_grid, save_image
from scan2map.preprocess.registration import (
    Transform,
    apply_transform,
    load_transform,
    register_affine,
    register_nonlinear,
    resample_isotropic,
    save_transform,
    voxel_centres,
)
from scan2map.provenance import write_sidecar

# Overlap (Dice) of the template's brain and the subject's: a registration below has failed.
LEAST_OVERLAP = 0.85
# The brain is brighter than this share of an image's maximum; its surroundings were set to 0 and then resampled.
BRAIN_BRIGHTNESS = 0.05
# Voxel sizes of the two levels of the affine registration.
AFFINE_LEVELS_MM = (8.0, 4.0)
POINT_COLUMNS = ("index", "name", "x_mm", "y_mm", "z_mm")


def load_template(resolution_mm: int) -> Image:
    """The brain of the ICBM152 2009 template (T1-weighted, 0 outside the brain), from the nilearn package.

    Source: Fonov et al. 2011, NeuroImage 54:313.
    """
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=resolution_mm)
    return Image(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def register_template(brain: Image, settings: dict, seed: int) -> tuple[Transform, float]:
    """Register the template's brain to a subject's: affine, then diffeomorphic.

    Args:
        brain: T1w without bias field, 0 outside the brain.
        settings: block ``anat.template``.
        seed: start of ANTs' random numbers.

    Returns:
        The transform (subject's world to MNI152) and the overlap (Dice) of the two brains.

    Raises:
        DataError: the overlap is too small.
        ToolError: ANTs failed.
    """
    fixed = resample_isotropic(brain, settings["resolution_mm"])
    template = load_template(settings["resolution_mm"])
    shrink = tuple(max(1, round(voxel_mm / settings["resolution_mm"])) for voxel_mm in AFFINE_LEVELS_MM)
    start = register_affine(
        fixed,
        template,
        initial="mass",
        shrink_factors=shrink,
        smoothing_voxels=(2, 1),
        iterations=(500, 250),
        seed=seed,
    )
    warp = register_nonlinear(
        fixed, template, initial=start, iterations=tuple(settings["nonlinear_iterations"]), seed=seed
    )
    overlap = _dice(_covers(template, fixed, warp), _covers(brain, fixed, Transform()))
    if overlap < LEAST_OVERLAP:
        raise DataError(
            "The template could not be registered to the T1w image",
            found=f"overlap of the brains {overlap:.2f}",
            allowed=f"at least {LEAST_OVERLAP:g}",
            remedy="look at the T1w image and its brain mask",
        )
    return warp, overlap


def load_points(path) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Read an atlas that is given as labelled points.

    Args:
        path: TSV with the columns ``index``, ``name``, ``x_mm``, ``y_mm``, ``z_mm`` (MNI152, RAS).

    Returns:
        Points (n, 3) in mm, their labels (n,), and the name of each label.

    Raises:
        SettingError: columns are missing.
    """
    import pandas as pd

    table = pd.read_csv(path, sep="\t", comment="#")
    missing = [column for column in POINT_COLUMNS if column not in table]
    if missing:
        raise SettingError("The atlas table lacks columns", file=path, found=list(table), allowed=list(POINT_COLUMNS))
    names = dict(zip(table["index"].astype(int).tolist(), table["name"], strict=True))
    return table[["x_mm", "y_mm", "z_mm"]].to_numpy(float), table["index"].to_numpy(int), names


def label_by_points(mask: Image, transform: Transform, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Label each voxel of a mask by the nearest atlas point, compared in template space.

    Args:
        mask: where labels are given.
        transform: world of the mask to MNI152.
        points: (n, 3) MNI152 mm.
        labels: (n,) label of each point.

    Returns:
        Labels on the mask's grid, 0 outside.
    """
    from scipy.spatial import cKDTree

    inside = mask.data.reshape(-1) > 0
    world = voxel_centres(mask.data.shape, mask.affine)[inside]
    _, nearest = cKDTree(points).query(transform.points(world))
    out = np.zeros(inside.size, dtype=np.int16)
    out[inside] = labels[nearest]
    return out.reshape(mask.data.shape)


def label_table(path) -> Path:
    """The table of labels beside an atlas image: ``<name>.tsv``."""
    return Path(str(path).removesuffix(".gz").removesuffix(".nii") + ".tsv")


def load_label_names(path) -> dict[int, str]:
    """Names of the labels of an atlas image: the BIDS table ``<name>_dseg.tsv`` or ``<name>.tsv`` beside it.

    Raises:
        SettingError: there is no such table, or it lacks ``index`` or ``name``.
    """
    import pandas as pd

    table_path = label_table(path)
    if not table_path.exists():
        raise SettingError("The atlas image has no table of labels", file=table_path, remedy="write index and name")
    table = pd.read_csv(table_path, sep="\t")
    if not {"index", "name"} <= set(table):
        raise SettingError("The table of labels lacks columns", file=table_path, allowed="index, name")
    return dict(zip(table["index"].astype(int).tolist(), table["name"].astype(str), strict=True))


def map_atlas(atlas_path, mask: Image, transform: Transform) -> tuple[np.ndarray, dict[int, str]]:
    """Bring an atlas in MNI152 space onto a subject's grid.

    Args:
        atlas_path: labelled points (``.tsv``) or a label image (``.nii.gz`` with a ``.tsv`` of names beside it).
        mask: the subject's brain.
        transform: the subject's world to MNI152.

    Returns:
        Labels (x, y, z), 0 outside the brain, and the name of each label.
    """
    if str(atlas_path).endswith(".tsv"):
        points, labels, names = load_points(atlas_path)
        return label_by_points(mask, transform, points, labels), names
    labels = apply_transform(load_image(atlas_path, dtype=np.int32), mask, transform, "nearest").data
    return np.where(mask.data > 0, labels, 0).astype(np.int16), load_label_names(atlas_path)


def register_template_files(preproc, mask, settings: dict, seed: int, *, transform) -> None:
    """Write the transform that brings MNI152 onto the T1w image.

    Args:
        preproc: T1w without bias field.
        mask: brain mask.
        settings: block ``anat``.
        seed: start of ANTs' random numbers.
        transform: output path (displacement field).
    """
    image, brain = load_image(preproc), load_image(mask)
    require_same_grid(image, brain, names=("T1w image", "brain mask"))
    found, overlap = register_template(Image(image.data * (brain.data > 0), image.affine), settings["template"], seed)
    save_transform(transform, found)
    write_sidecar(
        transform,
        step="register_template",
        description="ITK displacement field: resamples MNI152 (ICBM152 2009) images onto the T1w image",
        sources=[preproc, mask],
        settings=settings["template"] | {"seed": seed},
        units="mm",
        BrainOverlap=round(overlap, 4),
    )


def map_atlas_files(atlas, mask, transform, *, labels) -> None:
    """Write an atlas on the grid of the T1w image.

    Args:
        atlas: atlas in MNI152 space.
        mask: brain mask on the T1w grid.
        transform: MNI152 to T1w.
        labels: output path.
    """
    brain = load_image(mask)
    found, names = map_atlas(atlas, brain, load_transform(transform))
    save_image(labels, found, brain.affine, dtype=np.int16)
    write_sidecar(
        labels,
        step="map_atlas",
        description=f"Atlas regions ({Path(atlas).stem}) on the T1w grid",
        sources=[atlas, mask, transform],
        Labels=names,
    )


def _covers(image: Image, grid: Image, transform: Transform) -> np.ndarray:
    """Where an image with a dark background has its head on another grid."""
    bright = (image.data > BRAIN_BRIGHTNESS * image.data.max()).astype(np.float32)
    return apply_transform(Image(bright, image.affine), grid, transform, "mean").data > 0.5


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))
