"""Distortion against closed forms: shift, stretch, conservation, sign."""

import numpy as np
import pytest
import torch

from scan2map.errors import SettingError
from scan2map.physics.epi import displacement_voxels, shift_and_stack


def bump(centre, cells=64, width=4.0):
    return torch.exp(-((torch.arange(cells) - centre) ** 2) / (2 * width**2))[None]


@pytest.mark.parametrize(("direction", "sign"), [("j", 1), ("j-", -1)])
def test_signal_moves_by_field_times_readout_time(direction, sign):
    shift = displacement_voxels(60.0, 0.05, direction)
    assert shift == pytest.approx(sign * 3.0)
    moved = shift_and_stack(bump(30), torch.full((1, 64), float(shift)))
    assert moved[0].numpy() == pytest.approx(bump(30 + 3 * sign)[0].numpy(), abs=1e-4)


def test_an_unknown_direction_is_refused():
    with pytest.raises(SettingError, match=r"found: i; allowed: j, j-"):
        displacement_voxels(1.0, 0.05, "i")


def test_half_a_voxel_is_shared_between_two():
    density = torch.zeros(1, 8)
    density[0, 3] = 2.0
    assert shift_and_stack(density, torch.full((1, 8), 0.5))[0].tolist() == pytest.approx([0, 0, 0, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("slope", [-0.4, 0.3, 0.8])
def test_a_linear_field_stretches_and_dims_by_the_jacobian(slope):
    y = torch.arange(64.0)
    moved = shift_and_stack(torch.ones(1, 64), slope * (y - 31.5)[None])
    inside = np.abs(np.arange(64) - 31.5) < 0.9 * 31.5 * min(1 + slope, 1)
    assert moved[0].numpy()[inside] == pytest.approx(1 / (1 + slope), rel=1e-4)


def test_signal_is_conserved_even_where_the_image_folds():
    y = torch.arange(64.0)
    shift = -8 * torch.exp(-((y - 40) ** 2) / 18)[None]
    assert (1 + shift[0].diff()).min() < 0
    moved = shift_and_stack(bump(36), shift)
    assert moved.sum().item() == pytest.approx(bump(36).sum().item(), rel=1e-5)
    assert (moved >= -1e-5).all()


def test_voxels_are_the_mean_of_their_cells():
    density = torch.rand(3, 5, 12, generator=torch.Generator().manual_seed(0))
    voxels = shift_and_stack(density, torch.zeros_like(density), factor=3)
    assert voxels.numpy() == pytest.approx(density.reshape(3, 5, 4, 3).mean(-1).numpy(), abs=1e-6)


def test_what_leaves_the_field_of_view_is_lost():
    assert shift_and_stack(bump(60, width=1.0), torch.full((1, 64), 20.0)).abs().max() < 1e-5


def test_opposed_encodings_are_mirror_images_of_the_shift():
    field = torch.linspace(0, 40, 64)[None]
    there, back = (shift_and_stack(bump(32), displacement_voxels(field, 0.05, one)) for one in ("j", "j-"))
    y = torch.arange(64.0)
    centre = [(image * y).sum() / image.sum() for image in (there, back)]
    assert (centre[0] + centre[1]).item() / 2 == pytest.approx(32, abs=5e-3)
    assert (centre[0] - centre[1]).item() == pytest.approx(2 * 40 * 32 / 63 * 0.05, abs=0.02)
