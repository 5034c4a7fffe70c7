"""Fine detail in the validation protocol: contrast of small lesions, and the width of an edge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from scan2map.evaluation.edges import edge_width
from scan2map.models.guided_denoiser import tissue_regression
from scan2map.phantom.slices.perfusion import Perfusion, apply_lesion, disc, seeded
from scan2map.systems.asl_denoise.baselines import gaussian
from scan2map.systems.asl_denoise.labelling import consensus_map
from scan2map.systems.asl_denoise.protocol import (
    AVERAGING,
    NETWORK,
    REGRESSION,
    REGRESSION_WIDTH_VOXELS,
    Row,
    Scorer,
    row,
)
from scan2map.systems.asl_denoise.scenes import GM_CBF, WM_CBF, Scene, scene_guide
from scan2map.systems.asl_denoise.simulator import MEDIAN_DENSITY, mixed_density

DIAMETERS_MM = (4.0, 6.0, 8.0)
KINDS = {"hypo": (0.4, 0.3), "hyper": (1.7, -0.2)}  # factor on perfusion, change of transit time (s)
SHARE, REPEATS = 0.4, 2
BORDER_VOXELS, CORE_SHARE, PERFUSED_CBF = 0.15, 0.4, 15.0
EDGE_OFFSETS = (-0.375, -0.125, 0.125, 0.375)  # voxels: where the edge lies within a voxel
EDGE_ATT_S = 1.2


def _methods(scorer: Scorer, scene: Scene, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Perfusion by averaging, Gaussian, tissue regression and network."""
    mask = scene.slices.mask
    signals = {
        AVERAGING: image,
        "gaussian10": gaussian(image, mask, 1.0),
        REGRESSION: tissue_regression(image, scene.guide, REGRESSION_WIDTH_VOXELS),
        NETWORK: scorer.denoised(image, scene)[NETWORK],
    }
    return {name: consensus_map(signal, scene.slices.relative_m0) for name, signal in signals.items()}


def lesion_places(scene: Scene, generator: torch.Generator) -> torch.Tensor:
    """A random place in perfused tissue of each slice, off the voxel grid: (batch, 2), y and x."""
    inside = (scene.regions()["brain"] & (scene.slices.truth()[0] > PERFUSED_CBF))[:, 0]
    places = []
    for voxels in inside:
        found = voxels.nonzero().float()
        pick = torch.randint(len(found), (), generator=generator)
        places.append(found[pick] + torch.rand(2, generator=generator) - 0.5)
    return torch.stack(places)


def with_lesion(scene: Scene, places: torch.Tensor, diameter_voxels: float, factor: float, att_shift_s: float) -> Scene:
    """The scene with a round lesion in each slice."""
    count, size = scene.slices.mask.shape[0], scene.slices.mask.shape[-1]
    share = disc(count, size, places, torch.full_like(places, diameter_voxels / 2), edge=BORDER_VOXELS)
    changed = apply_lesion(scene.slices.perfusion, share, factor, att_shift_s)
    return scene._replace(slices=scene.slices._replace(perfusion=changed, lesion=share))


def lesions(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Contrast recovery: change of the estimate over change of the truth where the lesion is.

    The scan with and the scan without the lesion carry the same noise: their difference is what the lesion does.
    """
    pairs = len(scene.subset(SHARE))
    generator = seeded(scene.seed, 2_000)
    drawn = [lesion_places(scene, generator) for _ in range(REPEATS)]
    before = [_methods(scorer, scene, scene.average_of(pairs, repeat)) for repeat in range(REPEATS)]
    step = scorer.settings["evaluation"]["voxel_size_mm"][0]
    for diameter_mm in DIAMETERS_MM:
        for kind, change in KINDS.items():
            found = dict.fromkeys(before[0], 0.0)
            true = 0.0
            for repeat, places in enumerate(drawn):
                changed = with_lesion(scene, places, diameter_mm / step, *change)
                weight = _core(changed)
                truth = [consensus_map(one.slices.clean(), one.slices.relative_m0) for one in (changed, scene)]
                true += float(((truth[0] - truth[1]) * weight).sum())
                after = _methods(scorer, changed, changed.average_of(pairs, repeat))
                for method, image in after.items():
                    found[method] += float(((image - before[repeat][method]) * weight).sum())
            for method, value in found.items():
                for condition in (f"{kind} {diameter_mm:g} mm", f"{diameter_mm:g} mm"):
                    count = len(drawn[0]) * REPEATS
                    condition = f"{scene.acquisition} {condition}"
                    yield row(scene, method, condition, "lesion", "contrast_recovery", value / true, "1", count)


def _core(changed: Scene) -> torch.Tensor:
    share = changed.slices.lesion * changed.slices.mask
    return share * (share > CORE_SHARE * share.amax((1, 2, 3), keepdim=True))


def edge_scene(scene: Scene, protocol: Mapping[str, Any], offset: float, hidden: bool) -> Scene:
    """Perfusion of grey matter on the left, of white matter on the right; the edge ``offset`` voxels off the centre.

    The tissues change with it, or, where it is ``hidden`` from the anatomy, all is grey matter.
    """
    count, size = scene.slices.mask.shape[0], scene.slices.mask.shape[-1]
    place = torch.arange(size, dtype=torch.float32) - (size - 1) / 2 - offset
    right = (place + 0.5).clamp(0, 1).expand(count, 1, size, size)
    white = torch.zeros_like(right) if hidden else right
    fractions = torch.cat([torch.zeros_like(white), 1 - white, white], dim=1)
    flat = [torch.full_like(white, value) for value in (GM_CBF, WM_CBF, 0.0, *[EDGE_ATT_S] * 3)]
    flat[0] = GM_CBF + (WM_CBF - GM_CBF) * right if hidden else flat[0]
    slices = scene.slices._replace(
        perfusion=Perfusion(*flat), fractions=fractions, relative_m0=mixed_density(fractions) / MEDIAN_DENSITY,
        lesion=torch.zeros_like(white),
    )  # fmt: skip
    guide = scene_guide(slices, protocol, scene.seed, protocol["registration_error_mm"])
    noise = scene.noise._replace(
        physiological=torch.full_like(white, float(scene.noise.physiological.median())),
        static=torch.full_like(white, float(scene.noise.static.median())),
    )
    return scene._replace(slices=slices, noise=noise, guide=guide)


def _profiles(scorer: Scorer, scene: Scene, hidden: bool) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Perfusion over the distance from the edge (voxels), by method, for every place of the edge in its voxel."""
    size = scene.slices.mask.shape[-1]
    inner = slice(size // 4, -(size // 4))
    for offset in EDGE_OFFSETS:
        shown = edge_scene(scene, scorer.settings["evaluation"], offset, hidden)
        image = shown.average_of(len(scene.subset(SHARE)), 0)
        truth = consensus_map(shown.slices.clean(), shown.slices.relative_m0)
        found = {"truth": truth, **_methods(scorer, shown, image)}
        place = np.arange(size)[inner] - (size - 1) / 2 - offset
        yield place, {name: cbf[..., inner, inner].mean((0, 1, 2)).numpy() for name, cbf in found.items()}


def edges(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """10 % to 90 % width of an edge between grey and white matter, and of one that the anatomy does not show."""
    step = scorer.settings["evaluation"]["voxel_size_mm"][0]
    for name, hidden in (("edge", False), ("hidden edge", True)):
        places, profiles = zip(*_profiles(scorer, scene, hidden), strict=True)
        count = scene.slices.mask.shape[-1] * len(places)
        for method in profiles[0]:
            values = np.concatenate([profile[method] for profile in profiles])
            width = edge_width(np.concatenate(places), values) * step
            yield row(scene, method, f"{scene.acquisition} {name}", "edge", "cbf_edge_width", width, "mm", count)
