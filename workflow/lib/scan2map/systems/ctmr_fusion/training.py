"""What a training sees, what it minimises, and how the finished network is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from scan2map.models.fusion_diffusion import NORMAL_50, NORMAL_90, FusionDiffusion
from scan2map.preprocess.ctmr.hounsfield import BONE_WINDOW, BRAIN_WINDOW, SINGLE_WINDOW, apply_window
from scan2map.systems.ctmr_fusion.cohort import Head
from scan2map.systems.ctmr_fusion.sampler import TRAIN_STEPS, sample, schedule
from scan2map.systems.ctmr_fusion.scenes import Scene, draw_scene
from scan2map.systems.ctmr_fusion.similarity import dissimilarity
from scan2map.training.module import TrainedModule

WINDOWS = {"two": (BRAIN_WINDOW, BONE_WINDOW), "single": (SINGLE_WINDOW,)}
SCALE = 2.0  # images are −2 to 2, the diffusion's −1 to 1
CALIBRATION_DRAWS = 4
NO_JITTER = {"shift_mm": 0.0, "turn_deg": 0.0, "share": 0.0}
TEMPERATURES = np.geomspace(0.25, 4, 41)


def build_network(settings: Mapping[str, Any]) -> FusionDiffusion:
    """The network of the settings."""
    return FusionDiffusion(settings["network"], 1 + len(WINDOWS[settings["windows"]]))


def condition(mri: np.ndarray, ct: np.ndarray, windows: str) -> np.ndarray:
    """What the network sees of a place: MRI, and the CT through each window, −1 to 1, (channels, x, y, z)."""
    seen = [apply_window(ct, window) for window in WINDOWS[windows]]
    return np.stack([mri, *seen]).astype(np.float32) / SCALE


class Slabs:
    """Stacks of slices of simulated scans, drawn by a generator.

    Args:
        heads: digital heads.
        settings: of the system.
    """

    def __init__(self, heads: Sequence[Head], settings: Mapping[str, Any]):
        self.heads, self.settings = list(heads), settings

    def __call__(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        scene = draw_scene(self.heads[rng.integers(len(self.heads))], self.settings["simulation"], rng)
        return as_sample(scene, self._place(scene, rng), self.settings)

    def _place(self, scene: Scene, rng: np.random.Generator) -> slice:
        """Slices of the sample: around a voxel of lesion or, in a share of the samples, of the head."""
        depth, simulation = self.settings["simulation"]["slab_slices"], self.settings["simulation"]
        use_lesion = scene.lesion.any() and rng.uniform() < simulation["lesion_share"]
        heights = np.argwhere(scene.lesion if use_lesion else scene.brain)[:, 2]
        first = int(heights[rng.integers(len(heights))]) - int(rng.integers(depth))
        first = int(np.clip(first, 0, scene.mri.shape[2] - depth))
        return slice(first, first + depth)


def registered(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without registration errors: intervals are calibrated on scans as the registration leaves them."""
    still = settings["simulation"] | {"jitter": NO_JITTER}
    return {**settings, "simulation": still}


def as_sample(scene: Scene, place: slice, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of some slices of a scan: ``condition`` (channels, x, y, z), ``target`` and the masks, (1, x, y, z)."""
    target = scene.target(settings["target"]).astype(np.float32) / SCALE
    parts = {"target": target, "lesion": scene.lesion, "brain": scene.brain}
    found = {name: np.ascontiguousarray(values[None, ..., place], dtype=np.float32) for name, values in parts.items()}
    seen = condition(scene.mri[..., place], scene.ct[..., place], settings["windows"])
    return found | {"condition": np.ascontiguousarray(seen)}


def lesion_loss(logits: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice of each sample; without lesion the latter asks for an empty answer."""
    found, lesion = torch.sigmoid(logits).flatten(1), lesion.flatten(1)
    overlap = (2 * (found * lesion).sum(1) + 1) / (found.sum(1) + lesion.sum(1) + 1)
    return functional.binary_cross_entropy_with_logits(logits.flatten(1), lesion) + (1 - overlap).mean()


class FusionModule(TrainedModule):
    """The clean image behind a noisy target, and both lesion heads.

    Args:
        network: to train.
        training: block ``training``.
        settings: of the system.
    """

    def __init__(self, network: FusionDiffusion, training: Mapping[str, Any], settings: Mapping[str, Any]):
        super().__init__(network, training)
        self.settings, self.scheduler = settings, schedule()

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        target = batch["target"]
        time = torch.randint(0, TRAIN_STEPS, (len(target),), device=self.device)
        noise = torch.randn_like(target)
        noisy = self.scheduler.add_noise(target, noise, time)
        found = self.network(noisy, batch["condition"], time)
        parts = {"image": functional.mse_loss(found, target)}
        # Region of the document's equation 2 (its bone follows from the squared error: the CT is bright there).
        parts["similarity"] = dissimilarity(SCALE * found, SCALE * target, batch["brain"]).mean()
        # The head learns from images as sampling predicts them, which is what it will read (Algorithm 1, line 8).
        parts["lesion_fused"] = lesion_loss(self.network.lesion(SCALE * found.detach()), batch["lesion"])
        parts["lesion_stacked"] = lesion_loss(self.network.lesion_stacked(SCALE * batch["condition"]), batch["lesion"])
        weights = self.settings["loss"]
        image = parts["image"] + weights["similarity"] * parts["similarity"]
        return {"loss": image + weights["lesion"] * (parts["lesion_fused"] + parts["lesion_stacked"]), **parts}

    def on_validation_epoch_start(self) -> None:
        self._seen: list[tuple[torch.Tensor, ...]] = []

    def validation_losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = self.losses(batch)
        if self.network.design != "pooled":
            drawn = draw_images(self.network, batch["condition"], self.settings["sampling"], CALIBRATION_DRAWS)
            self._seen.append((drawn, batch["target"] * SCALE, batch["lesion"], batch["brain"]))
            found["brain_error"] = ((drawn.mean(0) - SCALE * batch["target"]).abs() * batch["brain"]).sum()
            found["brain_error"] = found["brain_error"] / batch["brain"].sum()
        return found

    def on_validation_epoch_end(self) -> None:
        """Calibrate on the validation scans."""
        if self._seen:
            drawn, *rest = zip(*self._seen, strict=True)
            calibrate(self.network, torch.cat(drawn, dim=1), *map(torch.cat, rest))
        self._seen = []


def draw_images(
    network: FusionDiffusion, seen: torch.Tensor, settings: Mapping[str, Any], draws: int, guide=None, steps=None
) -> torch.Tensor:
    """Fused images of the same place from different noise, (draws, batch, 1, x, y, z), −2 to 2.

    Args:
        network: trained.
        seen: its condition (batch, channels, x, y, z).
        settings: block ``sampling``.
        draws: how many; a one-pass network gives the same each time.
        guide: of :func:`guidance.make_guide`, or None.
        steps: other than those of the settings.
    """
    shape, images = (len(seen), 1, *seen.shape[2:]), []
    if network.design == "one_pass":
        image = network(seen.new_zeros(shape), seen, torch.zeros(len(seen), device=seen.device, dtype=torch.long))
        return (SCALE * image.clamp(-1, 1)).expand(draws, *shape)
    for draw in range(draws):
        generator = torch.Generator(seen.device).manual_seed(1000 * settings["seed"] + draw)

        def denoise(noisy: torch.Tensor, time: int) -> torch.Tensor:
            return network(noisy, seen, torch.full((len(noisy),), time, device=noisy.device))

        drawn = sample(denoise, shape, steps or settings["steps"], generator, guide, settings["sampler"])
        images.append(SCALE * drawn)
    return torch.stack(images)


def calibrate(network: FusionDiffusion, drawn, target, lesion, brain) -> None:
    """Set the temperature of the lesion probabilities and the width of the intervals, on held-out scans.

    Args:
        network: its buffers are set.
        drawn: fused images (draws, batch, 1, x, y, z), −2 to 2.
        target: their truth; lesion, brain: masks, each (batch, 1, x, y, z).
    """
    inside = brain > 0
    logits = network.lesion(drawn.mean(0))[inside].double()
    truth = lesion[inside].double()
    losses = [float(functional.binary_cross_entropy_with_logits(logits / t, truth)) for t in TEMPERATURES]
    network.temperature.fill_(float(TEMPERATURES[int(np.argmin(losses))]))
    error, spread = (drawn.mean(0) - target).abs()[inside], drawn.std(0)[inside]
    # Errors that the draws share (what the network never learned) do not show in their spread: they are the floor.
    floor = error[spread <= spread.median()].median() / NORMAL_50
    width = (spread**2 + floor**2).sqrt()
    network.interval_floor.fill_(float(floor))
    half, most = torch.quantile(error / width.clamp_min(1e-6), torch.tensor([0.5, 0.9]))
    network.interval_scale.fill_(float(most) / NORMAL_90)
    # Errors have heavier tails than a normal distribution: the 50 % interval has a width of its own.
    network.interval_half.fill_(float(half / most))


def standard_deviation(network: FusionDiffusion, drawn: torch.Tensor) -> torch.Tensor:
    """Calibrated uncertainty of the mean of drawn images, (batch, 1, x, y, z)."""
    return network.interval_scale * (drawn.var(0) + network.interval_floor**2).sqrt()
