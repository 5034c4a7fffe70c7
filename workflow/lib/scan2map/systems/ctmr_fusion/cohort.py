"""Digital heads as the fusion learns them: tissue and CT numbers on a clinical grid, without lesion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

TISSUES = ("csf", "gm", "wm", "skull", "scalp")
# Middle of the grid, template mm: whole vault and most of the base of the skull.
CENTRE_MM = (0.0, -17.0, 8.0)
HEAD_MM = 2.5  # the head is built on this isotropic grid


class Head(NamedTuple):
    """One head.

    Attributes:
        fractions: of ``TISSUES`` (5, x, y, z).
        hounsfield: CT numbers (x, y, z), HU.
        voxel_mm: edges of a voxel (3,).
    """

    fractions: np.ndarray
    hounsfield: np.ndarray
    voxel_mm: np.ndarray

    @property
    def brain(self) -> np.ndarray:
        """Mask of everything inside the skull."""
        return self.fractions[:3].sum(0) > 0.5


def head_arrays(subject: str, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Tissue and CT numbers of the phantom's head of that name, float16.

    Args:
        subject: label.
        settings: block ``data``: ``voxel_size_mm``, ``matrix``, ``seed``.
    """
    from scan2map.config import check_block
    from scan2map.images import Image
    from scan2map.phantom import tissue
    from scan2map.phantom.anatomy import build_head, subject_grid
    from scan2map.phantom.deformation import draw_warp
    from scan2map.phantom.field import LATTICE_MM
    from scan2map.phantom.subject import SKULL_LOG_SD, random_generator
    from scan2map.preprocess.registration import Transform, apply_transform

    draw = partial(random_generator, settings["seed"], subject)
    phantom = check_block("phantom_subject", {"voxel_size_mm": HEAD_MM})
    warp = draw_warp(subject_grid(LATTICE_MM), phantom["deformation"], draw("deformation"))
    grid = subject_grid(HEAD_MM)
    head = build_head(grid, warp, float(np.exp(SKULL_LOG_SD * np.clip(draw("skull").standard_normal(), -2, 2))))
    target = Image(np.empty(settings["matrix"], dtype=bool), grid_affine(settings))
    dense = tissue.hounsfield(head.fractions, head.skull_depth) - np.float32(tissue.AIR_HOUNSFIELD)

    def onto(values: np.ndarray) -> np.ndarray:
        return apply_transform(Image(values, grid.affine), target, Transform(), "mean").data

    fractions = np.stack([onto(head.fractions[name]) for name in TISSUES])
    hounsfield = onto(dense) + np.float32(tissue.AIR_HOUNSFIELD)
    return {"fractions": fractions.astype(np.float16), "hounsfield": hounsfield.astype(np.float16)}


def grid_affine(settings: Mapping[str, Any]) -> np.ndarray:
    """Affine of a cohort's grid, axial slices around the middle of the head."""
    voxel, matrix = np.array(settings["voxel_size_mm"]), np.array(settings["matrix"])
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = np.array(CENTRE_MM) - voxel * (matrix - 1) / 2
    return affine


def load_heads(paths) -> list[Head]:
    """Heads from the files of a data set."""
    from scan2map.training.dataset import load_subject

    heads = []
    for path in paths:
        arrays, facts = load_subject(path)
        fractions, hounsfield = (arrays[name].astype(np.float32) for name in ("fractions", "hounsfield"))
        heads.append(Head(fractions, hounsfield, np.array(facts["voxel_size_mm"])))
    return heads
