"""Signal models of the diffusion VAE against dipy and hand-computed values; bounds, starts and gradients."""

import numpy as np
import pytest
import torch
from dipy.core.gradients import gradient_table
from dipy.reconst.msdki import msdki_prediction
from dipy.sims.voxel import sticks_and_ball

from scan2map.errors import SettingError
from scan2map.systems.dwi_vae.signal_models import MODELS, Tissue, signal_model
from scan2map.systems.dwi_vae.voxels import (
    acquisition_of,
    average_shells,
    below,
    frames_about,
    principal_directions,
    relative_voxels,
)

GENERATOR = np.random.default_rng(5)
DIRECTIONS = GENERATOR.normal(size=(12, 3))
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
B_VALUES = np.repeat([0.0, 1000.0, 2000.0], 4)
ACQUISITION = acquisition_of(B_VALUES, DIRECTIONS)
TABLE = gradient_table(B_VALUES, bvecs=DIRECTIONS * (B_VALUES > 0)[:, None])


def voxels(count=3):
    return relative_voxels(torch.ones(count, 12), 0.05, ACQUISITION)


def tissue(values, direction=(0.0, 0.0, 1.0)):
    return Tissue(torch.tensor([values], dtype=torch.float64), torch.tensor([direction], dtype=torch.float64))


def test_msdki_is_that_of_dipy():
    signal = signal_model("msdki").signal(tissue([1.0, 1.1e-3, 0.9]), voxels(1))[0]
    expected = msdki_prediction(np.array([[1.1e-3, 0.9]]), TABLE)[0]
    assert signal.numpy() == pytest.approx(expected, rel=1e-6)


def test_msdki_by_hand():
    """S = exp(-1.5 + 1.5² · 0.8/6) = exp(-1.2) at b = 1500, D = 1e-3; beside 20 % water at exp(-4.5)."""
    one = relative_voxels(torch.ones(1, 2), 0.1, acquisition_of([0, 1500], np.eye(3)[:2]))
    assert signal_model("msdki").signal(tissue([1.0, 1e-3, 0.8]), one)[0, 1].item() == pytest.approx(
        0.301194212, rel=1e-6
    )
    with_water = signal_model("msdki_water").signal(tissue([1.0, 1e-3, 0.8, 0.2]), one)[0, 1].item()
    assert with_water == pytest.approx(0.8 * 0.301194212 + 0.2 * 0.011108997, rel=1e-6)


def test_ball_and_stick_is_that_of_dipy():
    expected, axes = sticks_and_ball(TABLE, d=1.5e-3, S0=1.0, angles=[(40, 60)], fractions=[35], snr=None)
    fibre = tuple(float(x) for x in axes[0])
    tied = signal_model("ball_stick_tied").signal(tissue([1.0, 0.35, 1.5e-3], fibre), voxels(1))[0]
    free = signal_model("ball_stick").signal(tissue([1.0, 0.35, 1.5e-3, 1.5e-3], fibre), voxels(1))[0]
    assert tied.numpy() == pytest.approx(expected, rel=1e-6)
    assert free.numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_free_numbers_and_parameters_are_inverse_and_bounded(name):
    model, some = signal_model(name), voxels(4)
    free = torch.randn(4, model.free, dtype=torch.float64)
    values = model.tissue(free, some.frames).values
    count = len(model.parameters)
    assert model.unbounded(values)[:, :count].numpy() == pytest.approx(free[:, :count].numpy(), rel=1e-6)
    far = model.tissue(1e3 * free, some.frames)
    for column, parameter in zip(far.values.T, model.parameters, strict=True):
        assert parameter.low <= column.min()
        assert column.max() <= parameter.high
    assert far.direction.norm(dim=-1).numpy() == pytest.approx(1)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_finite_differences(name):
    model, some = signal_model(name), voxels(2)
    free = 0.3 * torch.randn(2, model.free, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(
        lambda u: model.signal(model.tissue(u, some.frames), some), free.requires_grad_(), atol=1e-7
    )


def test_unknown_model_is_refused():
    with pytest.raises(SettingError, match="no such signal model"):
        signal_model("zeppelin")


def test_shell_averages_and_selection():
    given = relative_voxels(torch.arange(12.0)[None] + 1, 0.1, ACQUISITION)
    mean = average_shells(given)
    assert mean.acquisition.counts.tolist() == [4, 4, 4]
    assert mean.signals[0].numpy() == pytest.approx(np.array([2.5, 6.5, 10.5]) / 2.5)
    assert mean.sigma.item() == pytest.approx(0.04)
    assert below(mean, 1500).acquisition.b_values.tolist() == [0, 1000]


def test_frames_are_rotations_that_begin_with_the_direction():
    given = torch.tensor(DIRECTIONS)
    frames = frames_about(given)
    assert torch.linalg.det(frames).numpy() == pytest.approx(1)
    assert (frames.mT @ frames).numpy() == pytest.approx(np.broadcast_to(np.eye(3), (12, 3, 3)), abs=1e-12)
    assert torch.equal(frames[:, :, 0], given)


def test_first_guess_of_a_fibre_is_its_direction():
    fibre = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)
    table = acquisition_of(np.r_[0, np.full(12, 1000.0)], np.vstack([np.zeros(3), DIRECTIONS]))
    some = relative_voxels(torch.ones(1, 13), 0.1, table)
    model = signal_model("ball_stick")
    signal = model.signal(Tissue(torch.tensor([[1, 0.5, 1e-3, 1.7e-3]], dtype=torch.float64), fibre), some)
    found = principal_directions(signal, table)
    assert abs((found * fibre).sum()) == pytest.approx(1, abs=1e-3)
