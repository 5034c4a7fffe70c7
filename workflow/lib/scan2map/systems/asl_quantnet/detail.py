"""Fine detail in the validation protocol: small lesions that training never showed, and the width of an edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from scan2map.evaluation.edges import edge_width
from scan2map.phantom.slices.perfusion import Perfusion, apply_lesion, disc, mixed, seeded
from scan2map.systems.asl_quantnet.baselines import least_squares
from scan2map.systems.asl_quantnet.protocol import Row, Scorer, row
from scan2map.systems.asl_quantnet.scenes import Scene
from scan2map.systems.asl_quantnet.simulator import Slices

DETAIL_SNR = 5.0
DIAMETERS_MM = (4.0, 6.0, 8.0)
KINDS = {"hypo": (0.4, 0.3), "hyper": (1.7, -0.2)}  # factor on perfusion, change of transit time (s)
BORDER_VOXELS, CORE_SHARE = 0.15, 0.4
PERFUSED_CBF = 15.0  # lesions are put where there is perfusion to change, ml/100g/min
EDGE_OFFSETS = (-0.375, -0.125, 0.125, 0.375)  # voxels: where the edge lies within a voxel
EDGE_CBF, EDGE_ATT_S = (60.0, 20.0), (1.2, 1.5)


def lesion_places(scene: Scene, generator: torch.Generator) -> torch.Tensor:
    """A random place in perfused tissue of each slice, off the voxel grid: (batch, 2), y and x."""
    cbf, _ = mixed(scene.slices.perfusion, scene.slices.fractions)
    inside = (scene.regions()["tissue"] & (cbf > PERFUSED_CBF))[:, 0]
    places = []
    for voxels in inside:
        found = voxels.nonzero().float()
        pick = torch.randint(len(found), (), generator=generator)
        places.append(found[pick] + (torch.rand(2, generator=generator) - 0.5).to(found))
    return torch.stack(places)


def with_lesion(scene: Scene, places: torch.Tensor, diameter_voxels: float, factor: float, att_shift_s: float) -> Scene:
    """The scene with a round lesion in each slice."""
    count, size = scene.mask.shape[0], scene.mask.shape[-1]
    radii = torch.full_like(places, diameter_voxels / 2)
    share = disc(count, size, places, radii, edge=BORDER_VOXELS)
    changed = apply_lesion(scene.slices.perfusion, share, factor, att_shift_s)
    return scene._replace(slices=scene.slices._replace(perfusion=changed, lesion=share))


def lesions(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Contrast recovery of small lesions: change of the estimate over change of the truth where the lesion is.

    The scan with and the scan without the lesion carry the same noise: their difference is what the lesion does.
    """
    protocol = scorer.settings["evaluation"]
    places = lesion_places(scene, seeded(scene.seed, 2_000))
    healthy = [scorer.scan(scene, DETAIL_SNR, repeat) for repeat in range(protocol["realisations"])]
    before = [(scan.cbf, scorer.predict(scan).cbf) for scan in healthy]
    for diameter_mm in DIAMETERS_MM:
        for kind, (factor, shift) in KINDS.items():
            changed = with_lesion(scene, places, diameter_mm / protocol["voxel_size_mm"][0], factor, shift)
            value = _recovery(scorer, changed, before)
            condition, count = f"{kind} {diameter_mm:g} mm", len(places) * len(before)
            yield row(scene, "network", condition, "lesion", "contrast_recovery", value, "1", count)


def _recovery(scorer: Scorer, changed: Scene, before: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    share = changed.slices.lesion * changed.mask
    weight = share * (share > CORE_SHARE * share.amax((1, 2, 3), keepdim=True))
    found = true = 0.0
    for repeat, (healthy, estimate) in enumerate(before):
        scan = scorer.scan(changed, DETAIL_SNR, repeat)
        true += float(((scan.cbf - healthy) * weight).sum())
        found += float(((scorer.predict(scan).cbf - estimate) * weight).sum())
    return found / true


def edge_scene(scene: Scene, offset: float) -> Scene:
    """Grey matter on the left, white matter on the right, each uniform; the edge ``offset`` voxels off the centre."""
    size, count = scene.mask.shape[-1], scene.mask.shape[0]
    place = torch.arange(size, dtype=torch.float32, device=scene.mask.device) - (size - 1) / 2 - offset
    white = (place + 0.5).clamp(0, 1).expand(count, 1, size, size)
    fractions = torch.cat([torch.zeros_like(white), 1 - white, white], dim=1)
    flat = [torch.full_like(white, value) for value in (*EDGE_CBF, 0.0, *EDGE_ATT_S, EDGE_ATT_S[0])]
    slices = Slices(Perfusion(*flat), fractions, torch.zeros_like(white), scene.slices.labelling, scene.slices.m0)
    return scene._replace(slices=slices)


def edges(scorer: Scorer, scene: Scene) -> Iterator[Row]:
    """Width of the edge between grey and white matter in the estimates, beside that of the truth."""
    profiles: dict[str, list] = {"truth": [], "network": [], "ls": []}
    places = []
    size, margin = scene.mask.shape[-1], scene.mask.shape[-1] // 4
    for offset in EDGE_OFFSETS:
        scan = scorer.scan(edge_scene(scene, offset), DETAIL_SNR)
        found = least_squares(scan.difference, scan.mask, scan.labelling, scene.delays, scorer.convention)
        for method, image in (("truth", scan.cbf), ("network", scorer.predict(scan).cbf), ("ls", found.cbf)):
            profiles[method].append(image[..., margin:-margin].mean((0, 1, 2)).cpu().numpy())
        places.append(np.arange(size)[margin:-margin] - (size - 1) / 2 - offset)
    step = scorer.settings["evaluation"]["voxel_size_mm"][0]
    for method, values in profiles.items():
        width = edge_width(np.concatenate(places), np.concatenate(values)) * step
        yield row(scene, method, f"snr={DETAIL_SNR:g}", "edge", "cbf_edge_width", width, "mm", size * len(EDGE_OFFSETS))
