"""Sampling of the fused image: MONAI's DDIM on time steps that follow each other, with Algorithm 1's guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.networks.schedulers import DDIMScheduler

from scan2map.errors import SettingError

TRAIN_STEPS = 1000
# From a predicted clean image, the time step and the number of steps still to come, to its change (None: unguided).
Guide = Callable[[torch.Tensor, float], torch.Tensor]


def schedule() -> DDIMScheduler:
    """The noise schedule of training and sampling: 1000 steps, images within −1 to 1, the clean image predicted."""
    return DDIMScheduler(num_train_timesteps=TRAIN_STEPS, schedule="scaled_linear_beta", prediction_type="sample")


def set_steps(scheduler: DDIMScheduler, steps: int) -> torch.Tensor:
    """Time steps for a sampling of so many steps, each where the one before it lands.

    MONAI spaces its own list from 999 to 0, 1000 / (steps − 1) apart, while its step goes down by 1000 / steps: the
    network is then told another noise than there is (at 5 steps by a twentieth of the schedule).

    Raises:
        SettingError: 1000 is not a multiple of the number of steps.
    """
    if steps < 1 or TRAIN_STEPS % steps:
        raise SettingError(
            "The number of sampling steps does not divide the noise schedule", found=steps,
            allowed=f"a divisor of {TRAIN_STEPS}", remedy="use 10, 20, 25, 40, 50 or 100 steps",
        )  # fmt: skip
    scheduler.set_timesteps(steps)
    scheduler.timesteps = torch.arange(TRAIN_STEPS - 1, -1, -(TRAIN_STEPS // steps))
    return scheduler.timesteps


def strided_ddpm_step(
    scheduler: DDIMScheduler, clean: torch.Tensor, time: int, noisy: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The document's step: DDPM's posterior of the neighbouring time step, used to jump many (a marked, wrong variant).

    The posterior of Ho et al. 2020 (eq. 7) leads from t to t − 1. On a list of 20 of 1000 time steps it removes a
    fiftieth of the noise that it should.
    """
    share, before = scheduler.alphas_cumprod[time], scheduler.alphas_cumprod[max(time - 1, 0)]
    beta = 1 - share / before
    mean = before.sqrt() * beta / (1 - share) * clean + (share / before).sqrt() * (1 - before) / (1 - share) * noisy
    noise = torch.randn(noisy.shape, generator=generator, device=noisy.device)
    return mean + (beta * (1 - before) / (1 - share)).sqrt() * noise * bool(time > 0)


def sample(
    denoise: Callable[[torch.Tensor, int], torch.Tensor],
    shape: tuple[int, ...],
    steps: int,
    generator: torch.Generator,
    guide: Guide | None = None,
    sampler: str = "ddim",
) -> torch.Tensor:
    """Draw images from noise.

    Args:
        denoise: clean image behind a noisy one at a time step.
        shape: of the images.
        steps: network evaluations.
        generator: of the first noise; its device is the device of the images.
        guide: change of the clean image that a step predicts, given the share of steps that are done; it is added to
            x_{t−1}, scaled like the clean image's part of it.
        sampler: ``ddim``, or ``strided_ddpm`` (the document's mistake).

    Returns:
        The images, −1 to 1.
    """
    scheduler, device = schedule(), generator.device
    times = set_steps(scheduler, steps).tolist()
    noisy = torch.randn(shape, generator=generator, device=device)
    for done, time in enumerate(times):
        clean = denoise(noisy, time).clamp(-1, 1)
        change = guide(clean, done / steps) if guide else 0.0
        if sampler == "ddim":
            noisy, _ = scheduler.step(clean, time, noisy)
        else:
            noisy = strided_ddpm_step(scheduler, clean, time, noisy, generator)
        lands = time - TRAIN_STEPS // steps
        noisy = noisy + (scheduler.alphas_cumprod[lands] if lands >= 0 else torch.ones(())).sqrt().to(device) * change
    return noisy.clamp(-1, 1)
