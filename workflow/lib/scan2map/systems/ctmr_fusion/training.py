"""What a training sees, what it minimises, and how the finished network is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from scan2map.models.fusion_diffusion import FusionDiffusion
from scan2map.preprocess.ctmr.hounsfield import BONE_WINDOW, BRAIN_WINDOW, SINGLE_WINDOW, apply_window
from scan2map.systems.ctmr_fusion.cohort import Head
from scan2map.systems.ctmr_fusion.sampler import TRAIN_STEPS, sample, schedule
from scan2map.systems.ctmr_fusion.scenes import Scene, draw_scene
from scan2map.systems.ctmr_fusion.similarity import dissimilarity
from scan2map.systems.ctmr_fusion.uncertainty import Drawn, calibrate
from scan2map.training.module import TrainedModule, rate_factor

WINDOWS = {"two": (BRAIN_WINDOW, BONE_WINDOW), "single": (SINGLE_WINDOW,)}
SCALE = 2.0  # images are −2 to 2, the diffusion's −1 to 1
NO_JITTER = {"shift_mm": 0.0, "turn_deg": 0.0, "share": 0.0}
# The lesion heads learn from images as they are predicted in this last share of the sampling: what they are shown then.
LATE = 0.5


def build_network(settings: Mapping[str, Any]) -> FusionDiffusion:
    """The network of the settings."""
    channels = 1 + len(WINDOWS[settings["windows"]])
    return FusionDiffusion(settings["network"], channels, settings["simulation"]["slab_slices"])


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
    """First the clean image behind a noisy target, then both lesion heads on the images of the finished denoiser.

    Args:
        network: to train.
        training: block ``training``.
        settings: of the system.
    """

    def __init__(self, network: FusionDiffusion, training: Mapping[str, Any], settings: Mapping[str, Any]):
        super().__init__(network, training)
        self.settings, self.scheduler = settings, schedule()
        self.first_steps = round(training["max_steps"] * settings["loss"]["denoiser_share"])

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser; denoiser and heads each have a warm-up and a decay of their own."""
        found = super().configure_optimizers()
        rate = torch.optim.lr_scheduler.LambdaLR(found["optimizer"], self.rate)
        return found | {"lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def rate(self, step: int) -> float:
        """Learning rate of a step, relative to the highest one."""
        training, first = self.training_settings, self.first_steps
        if step < first:
            return rate_factor(step, {**training, "max_steps": first})
        return rate_factor(step - first, {**training, "max_steps": training["max_steps"] - first})

    def predicted(self, batch: dict[str, torch.Tensor], steps: int) -> torch.Tensor:
        """Clean images behind the targets with the noise of a random time among the last steps of the sampling."""
        target = batch["target"]
        time = torch.randint(0, steps, (len(target),), device=self.device)
        noisy = self.scheduler.add_noise(target, torch.randn_like(target), time)
        return self.network(noisy, batch["condition"], time)

    def image_losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the denoiser minimises."""
        target, found = batch["target"], self.predicted(batch, TRAIN_STEPS)
        parts = {"image": functional.mse_loss(found, target)}
        # Region of the document's equation 2 (its bone follows from the squared error: the CT is bright there).
        parts["similarity"] = dissimilarity(SCALE * found, SCALE * target, batch["brain"]).mean()
        return {"loss": parts["image"] + self.settings["loss"]["similarity"] * parts["similarity"], **parts}

    def head_losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the lesion heads minimise; the denoiser stands still."""
        with torch.no_grad():
            fused = SCALE * self.predicted(batch, round(LATE * TRAIN_STEPS)).clamp(-1, 1)
        logits = {
            "lesion_fused": self.network.fused_logits(fused, batch["brain"]),
            "lesion_stacked": self.network.stacked_logits(SCALE * batch["condition"], batch["brain"]),
        }
        parts = {name: lesion_loss(found, batch["lesion"]) for name, found in logits.items()}
        return {"loss": self.settings["loss"]["lesion"] * sum(parts.values()), **parts}

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.image_losses(batch) if self.global_step < self.first_steps else self.head_losses(batch)

    def on_validation_epoch_start(self) -> None:
        self._seen: list[Drawn] = []

    def validation_losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        image, heads = self.image_losses(batch), self.head_losses(batch)
        found = {**image, **heads, "loss": image["loss"] + heads["loss"]}
        if self.network.design != "pooled":
            sampling = self.settings["sampling"]
            drawn = draw_images(self.network, batch["condition"], sampling, sampling["ensemble"])
            target, inside = SCALE * batch["target"], batch["brain"]
            self._seen.append(Drawn(drawn, target, batch["lesion"], inside))
            found["brain_error"] = ((drawn.mean(0) - target).abs() * inside).sum() / inside.sum()
        return found

    def on_validation_epoch_end(self) -> None:
        """Calibrate on the validation scans."""
        if self._seen:
            images, *rest = zip(*self._seen, strict=True)
            seen = Drawn(torch.cat(images, dim=1), *map(torch.cat, rest))
            calibrate(self.network, seen, self.settings["data"]["voxel_size_mm"])
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
