"""Sampling with the best possible denoiser of a known distribution: DDIM finds it, the document's step does not."""

import numpy as np
import pytest
import torch

from scan2map.errors import SettingError
from scan2map.systems.ctmr_fusion.sampler import TRAIN_STEPS, sample, schedule, set_steps

MEANS = (
    0.5
    * torch.sign(torch.linspace(-1, 1, 1024) + 1e-3)[torch.randperm(1024, generator=torch.Generator().manual_seed(1))]
)
SPREAD = 0.02


def best_image(noisy: torch.Tensor, time: int) -> torch.Tensor:
    """The posterior mean where every voxel is Gaussian around a known mean (Bayes-optimal, not an oracle)."""
    share = schedule().alphas_cumprod[time]
    gain = share.sqrt() * SPREAD**2 / (share * SPREAD**2 + 1 - share)
    return MEANS + gain * (noisy - share.sqrt() * MEANS)


def drawn(steps, sampler="ddim", guide=None):
    return sample(best_image, (1, 1024), steps, torch.Generator().manual_seed(5), guide, sampler)


def correlation(image):
    return float(np.corrcoef(image.ravel(), MEANS)[0, 1])


@pytest.mark.parametrize("steps", [5, 20, 50])
def test_ddim_finds_the_truth(steps):
    assert correlation(drawn(steps)) > 0.98


def test_ddim_with_every_step_keeps_the_spread_of_the_distribution():
    residual = drawn(1000) - MEANS
    assert float(residual.std()) == pytest.approx(SPREAD, rel=0.25)


def test_the_documents_step_leaves_nearly_all_the_noise():
    assert correlation(drawn(20, "strided_ddpm")) < 0.2


def test_the_documents_step_is_right_where_no_time_step_is_left_out():
    assert correlation(drawn(1000, "strided_ddpm")) > 0.98


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
def test_each_step_begins_where_the_one_before_lands(steps):
    scheduler = schedule()
    times = set_steps(scheduler, steps)
    assert len(times) == steps
    assert (times[:-1] - TRAIN_STEPS // scheduler.num_inference_steps == times[1:]).all()
    assert times[-1] - TRAIN_STEPS // steps == -1  # the last one lands on the clean image


def test_monais_own_list_does_not():
    scheduler = schedule()
    scheduler.set_timesteps(5)
    assert not (scheduler.timesteps[:-1] - 200 == scheduler.timesteps[1:]).all()


def test_a_number_of_steps_that_does_not_fit_is_refused():
    with pytest.raises(SettingError, match="does not divide"):
        set_steps(schedule(), 30)


def test_a_guide_moves_the_image_and_is_told_how_far_the_sampling_is():
    seen = []

    def upwards(clean, done):
        seen.append(done)
        return torch.full_like(clean, 0.1)

    moved = drawn(5, guide=upwards)
    assert seen == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    # The last step lands on the clean image and adds all of the change; the denoiser takes out what came before.
    assert float((moved - drawn(5)).mean()) == pytest.approx(0.1, abs=0.02)


def test_the_same_noise_gives_the_same_image():
    assert torch.equal(drawn(5), drawn(5))
