"""The validation protocol on held-out heads: fused images, lesions, uncertainty, jitter, time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from scan2map.evaluation import calibration
from scan2map.evaluation.fusion_scores import fusion_scores, psnr_inside, ssim_inside
from scan2map.evaluation.lesion_scores import NO_LESION, lesion_scores, stratum
from scan2map.evaluation.model_table import model_table
from scan2map.models.fusion_diffusion import FusionDiffusion
from scan2map.preprocess.ctmr.hounsfield import BONE_WINDOW, apply_window
from scan2map.systems.ctmr_fusion.cohort import load_heads
from scan2map.systems.ctmr_fusion.composite import simple_fusions
from scan2map.systems.ctmr_fusion.guidance import Regions, make_guide
from scan2map.systems.ctmr_fusion.lesions import lesion_mask
from scan2map.systems.ctmr_fusion.scenes import Scene, draw_scene
from scan2map.systems.ctmr_fusion.training import NO_JITTER, SCALE, condition, draw_images
from scan2map.systems.ctmr_fusion.uncertainty import NORMAL_50, NORMAL_90, half_widths
from scan2map.training.evaluate import subject_of
from scan2map.training.stream import generator

LOGGER = logging.getLogger("scan2map")
# Lesions of the test heads, ml, in turn: none, and from the smallest to the largest of the APIS challenge.
TEST_LESIONS_ML = ((), (3.0,), (0.4,), (25.0,), (1.5, 6.0), (), (2.2,), (58.0,), (0.1,), (8.0,))
UNITS = {
    "bone_psnr": "dB", "hd95": "mm", "volume": "ml", "expert_volume": "ml", "mutual_information": "nat",
    "seconds": "s", "ct_change": "HU",
}  # fmt: skip
EXACT_DB = 80.0
SMALL_STRATA = (NO_LESION, "below 1 ml")
FULL_VOLUME = 256 * 256 * 26


class Case(NamedTuple):
    """One test scan, its middle slices.

    Attributes:
        subject: label.
        scene: the scan.
        bone_ct: its CT in the bone window.
        target: the composite that a perfect network gives, −2 to 2.
    """

    subject: str
    scene: Scene
    bone_ct: np.ndarray
    target: np.ndarray

    @property
    def stratum(self) -> str:
        """Volume stratum of its lesions."""
        return stratum(self.scene.lesion, self.scene.voxel_mm)


def build_case(head, subject: str, number: int, settings: Mapping[str, Any], jitter: Mapping[str, float]) -> Case:
    """A test scan: the lesions depend on the number of the head, everything else on the seed."""
    protocol, simulation = settings["evaluation"], settings["simulation"] | {"jitter": jitter}
    rng = generator(protocol["seed"], number)
    scene = draw_scene(head, simulation, rng, TEST_LESIONS_ML[number % len(TEST_LESIONS_ML)])
    depth = scene.mri.shape[2]
    place = _place(scene.lesion, min(protocol["slices"], depth))
    parts = [getattr(scene, name)[..., place] for name in Scene._fields[:-1]]
    scene = Scene(*parts, scene.voxel_mm)
    return Case(subject, scene, apply_window(scene.ct, BONE_WINDOW), scene.target("composite"))


def _place(lesion: np.ndarray, count: int) -> slice:
    """Slices of a test scan: from the middle of the volume, moved so that as much lesion as possible is in."""
    depth = lesion.shape[2]
    heights = np.flatnonzero(lesion.any((0, 1)))
    middle = round(heights.mean()) if heights.size else depth // 2
    first = int(np.clip(middle - count // 2, 0, depth - count))
    return slice(first, first + count)


def as_tensors(case: Case, windows: str, device) -> torch.Tensor:
    """The condition of a case, (1, channels, x, y, z)."""
    return torch.from_numpy(condition(case.scene.mri, case.scene.ct, windows))[None].to(device)


def regions_of(network: FusionDiffusion, case: Case, seen: torch.Tensor) -> Regions:
    """What guidance knows of a case; the lesion is the stacked head's, never the expert's."""

    scene, device = case.scene, seen.device
    parts = [tensor(values, device) for values in (scene.mri, case.bone_ct, scene.brain, scene.bone)]
    probability = network.stacked_probability(SCALE * seen, parts[2])[0, 0].cpu().numpy()
    return Regions(*parts, tensor(found_lesions([network], probability, scene.voxel_mm), device))


def tensor(values: np.ndarray, device) -> torch.Tensor:
    """A volume (x, y, z) as the networks take it, (1, 1, x, y, z)."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None].to(device)


def found_lesions(members: Sequence[FusionDiffusion], probability: np.ndarray, voxel_mm) -> np.ndarray:
    """The mask of what counts as lesion, by the mean of the rules that the members chose on their validation scans."""
    threshold, smallest_ml = (
        float(np.mean([float(getattr(network, name)) for network in members]))
        for name in ("lesion_threshold", "lesion_smallest_ml")
    )
    return lesion_mask(probability, voxel_mm, threshold, smallest_ml)


class Scorer:
    """Scores the members of a package on one case after the other.

    Args:
        members: trained networks.
        settings: of the system.
        device: of the networks.
    """

    def __init__(self, members: Sequence[FusionDiffusion], settings: Mapping[str, Any], device: str):
        self.members, self.settings, self.device = list(members), settings, device

    def draw(self, case: Case, draws: int, *, guided: bool = False, steps: int | None = None) -> torch.Tensor:
        """Fused images of all members, (draws · members, 1, 1, x, y, z)."""
        found = []
        for network in self.members:
            seen = as_tensors(case, self.settings["windows"], self.device)
            guide = None
            if guided:
                guide = make_guide(
                    regions_of(network, case, seen), self.settings["guidance"], network.lesion_probability
                )
            found.append(draw_images(network, seen, self.settings["sampling"], draws, guide, steps))
        return torch.cat(found)

    def probabilities(self, images: torch.Tensor, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Lesion probability on the fused images, and on MRI and CT stacked: means over draws and members."""
        brain = tensor(case.scene.brain, self.device)
        fused = [
            network.lesion_probability(part.flatten(0, 1), brain.expand(len(part), -1, -1, -1, -1))
            for network, part in self._by_member(images)
        ]
        seen = SCALE * as_tensors(case, self.settings["windows"], self.device)
        stacked = [network.stacked_probability(seen, brain) for network in self.members]
        return tuple(torch.cat(parts).mean(0)[0].cpu().numpy() for parts in (fused, stacked))

    def _by_member(self, images: torch.Tensor) -> Iterator[tuple[FusionDiffusion, torch.Tensor]]:
        """Each member with its images (draws, 1, 1, x, y, z)."""
        return zip(self.members, images.unflatten(0, (len(self.members), -1)), strict=True)

    def spreads(self, images: torch.Tensor) -> dict[float, np.ndarray]:
        """Standard deviations whose normal intervals are the calibrated 50 % and 90 % ones, (x, y, z) by level."""
        widths = [half_widths(network, part) for network, part in self._by_member(images)]
        means = torch.stack([part.mean(0) for _, part in self._by_member(images)])
        between = means.var(0) if len(self.members) > 1 else torch.zeros_like(means[0])
        return {
            level: (torch.stack([width[level] / normal for width in widths]).square().mean(0) + between)
            .sqrt()[0, 0].cpu().numpy()
            for level, normal in ((0.5, NORMAL_50), (0.9, NORMAL_90))
        }  # fmt: skip

    def uncertainty(self, images: torch.Tensor) -> np.ndarray:
        """Standard deviation of the mean image, that of its 90 % interval, (x, y, z)."""
        return self.spreads(images)[0.9]


def _row(
    case: Case, method: str, metric: str, value: float, condition: str = "", roi: str = "brain", n: int = 0
) -> dict:
    return {
        "subject": case.subject, "method": method, "condition": condition, "roi": roi, "metric": metric,
        "value": float(value), "unit": UNITS.get(metric, "1"), "n": n,
    }  # fmt: skip


def _image_rows(case: Case, method: str, image: np.ndarray, condition: str = "") -> Iterator[dict]:
    scene = case.scene
    for name, value in fusion_scores(image, scene.mri, case.bone_ct, scene.brain, scene.bone).items():
        # A copy of the source has no noise: counted as one of a ten thousandth of the range.
        value = min(value, EXACT_DB) if name == "bone_psnr" else value
        yield _row(case, method, name, value, condition, "bone" if name == "bone_psnr" else "brain")


def _lesion_rows(scorer: Scorer, case: Case, method: str, probability: np.ndarray) -> Iterator[dict]:
    scene = case.scene
    found = found_lesions(scorer.members, probability, scene.voxel_mm)
    scores = lesion_scores(found, scene.lesion, scene.voxel_mm)
    for name, value in scores.items():
        yield _row(case, method, name, value, case.stratum, "lesion", int(scene.lesion.sum()))
        if case.stratum not in SMALL_STRATA:
            yield _row(case, method, name, value, "1 ml and more", "lesion", int(scene.lesion.sum()))
    inside = scene.brain
    truth, found = scene.lesion[inside], probability[inside]
    balanced = calibration.balanced_weights(truth)
    yield _row(case, method, "ece", calibration.expected_calibration_error(found, truth))
    yield _row(case, method, "ece_balanced", calibration.expected_calibration_error(found, truth, balanced))
    yield _row(case, method, "brier", calibration.brier_score(found, truth))
    yield _row(case, method, "brier_base_rate", calibration.base_rate_brier(truth))


def images_and_lesions(scorer: Scorer, case: Case) -> Iterator[dict]:
    """Fused images of the network, with and without guidance, and of every baseline; lesions; intervals."""
    scene, draws = case.scene, scorer.settings["sampling"]["ensemble"]
    images = scorer.draw(case, draws)
    mean = images.mean(0)[0, 0].cpu().numpy()
    yield from _image_rows(case, "network", images[0, 0, 0].cpu().numpy())
    yield from _image_rows(case, "network_ensemble", mean)
    yield _row(case, "network", "guided_by_default", scorer.settings["guidance"]["enabled"])
    if scorer.members[0].design != "one_pass":
        guided = scorer.draw(case, 1, guided=True)
        yield from _image_rows(case, "network_guided", guided[0, 0, 0].cpu().numpy())
        yield from _lesion_rows(scorer, case, "network_guided", scorer.probabilities(guided, case)[0])
    for name, image in simple_fusions(scene.mri, case.bone_ct, scene.bone).items():
        yield from _image_rows(case, name, image)
    yield from _image_rows(case, "target", case.target)
    fused, stacked = scorer.probabilities(images, case)
    yield from _lesion_rows(scorer, case, "network", fused)
    yield from _lesion_rows(scorer, case, "stacked", stacked)
    yield from _coverage_rows(scorer, case, images)


def _coverage_rows(scorer: Scorer, case: Case, images: torch.Tensor) -> Iterator[dict]:
    """Shares of brain voxels inside the intervals around the mean image."""
    inside = case.scene.brain
    error = (images.mean(0)[0, 0].cpu().numpy() - case.target)[inside]
    for level, spread in scorer.spreads(images).items():
        covered = calibration.coverage(error, spread[inside], level)
        yield _row(case, "network", f"coverage_{100 * level:.0f}", covered, n=int(inside.sum()))


def registration_error(scorer: Scorer, case: Case, misplaced: Case) -> Iterator[dict]:
    """The same scan with the CT beside its place: what it costs inside the brain and in bone."""
    scene = misplaced.scene
    image = scorer.draw(misplaced, 1)[0, 0, 0].cpu().numpy()
    yield _row(misplaced, "network", "brain_ssim", ssim_inside(image, scene.mri, case.scene.brain), "jitter")
    yield _row(misplaced, "network", "bone_psnr", psnr_inside(image, case.bone_ct, case.scene.bone), "jitter", "bone")
    yield _row(misplaced, "network", "ct_change", np.abs(scene.ct - case.scene.ct).mean(), "jitter")


def timing(scorer: Scorer, case: Case) -> Iterator[dict]:
    """Seconds of one image, scaled to a volume of 256 × 256 × 26 voxels, for each number of steps, guided or not."""
    scale = FULL_VOLUME / case.scene.mri.size
    for steps in scorer.settings["evaluation"]["steps"]:
        for guided in (False, True):
            begin = time.perf_counter()
            image = scorer.draw(case, 1, guided=guided, steps=steps)[0, 0, 0].cpu().numpy()
            seconds = (time.perf_counter() - begin) * scale / len(scorer.members)
            condition = f"steps={steps}" + (" guided" if guided else "")
            yield _row(case, "network", "seconds", seconds, condition, n=int(scale))
            yield from _image_rows(case, "network", image, condition)


def evaluate_members(
    members: Sequence[FusionDiffusion], test: Sequence[Path], settings: Mapping[str, Any], device: str
) -> pd.DataFrame:
    """The whole protocol, as rows of the long table of models."""
    scorer, rows = Scorer(members, settings, device), []
    size = settings["evaluation"]["jitter_mm"]
    for number, (path, head) in enumerate(zip(test, load_heads(test), strict=True)):
        subject = subject_of(path)
        case = build_case(head, subject, number, settings, NO_JITTER)
        rows += images_and_lesions(scorer, case)
        misplaced = build_case(head, subject, number, settings, {"shift_mm": size, "turn_deg": size, "share": 1.0})
        rows += registration_error(scorer, case, misplaced)
        if number == 1 and members[0].design == "spatial":
            rows += timing(scorer, case)
        LOGGER.info("%s scored", subject)
    return model_table(rows)
