"""Orientation, crop and slices of pictures."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.reporting.frame import PLANES, cut_positions, frame_of, millimetres, tile

SHAPE = (8, 10, 6)
LAS = np.array([[-2.0, 0, 0, 7], [0, 2, 0, -9], [0, 0, 3, -7.5], [0, 0, 0, 1]])
RAS = np.array([[2.0, 0, 0, -7], [0, 2, 0, -9], [0, 0, 3, -7.5], [0, 0, 0, 1]])
# Voxel axes point down, right, forward: a sagittal acquisition.
SAGITTAL = np.array([[0, 2.0, 0, -9], [0, 0, 3, -7.5], [-2.0, 0, 0, 7], [0, 0, 0, 1]])


def world_volume(affine, axis):
    """A volume that holds its world coordinate along one axis."""
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    return (voxels @ affine[:3, :3].T + affine[:3, 3])[..., axis]


@pytest.mark.parametrize("affine", [LAS, RAS, SAGITTAL])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cropped_axes_run_along_the_world(affine, axis):
    volume = world_volume(affine, axis)
    frame = frame_of(Image(volume, affine))
    turned = frame.crop(volume)
    place = np.array([2, 3, 1])
    assert turned[tuple(place)] == pytest.approx((frame.affine @ [*place, 1])[axis])
    assert (np.diff(turned, axis=axis) > 0).all()


@pytest.mark.parametrize(("plane", "right", "top"), [("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)])
def test_slices_have_left_on_the_left_and_the_head_up(plane, right, top):
    frame = frame_of(Image(np.zeros(SHAPE), LAS))
    across = tile(frame, frame.crop(world_volume(LAS, right)), plane, 2, 2.0)
    down = tile(frame, frame.crop(world_volume(LAS, top)), plane, 2, 2.0)
    assert (np.diff(across, axis=1) >= 0).all()
    assert across[0, -1] > across[0, 0]
    assert (np.diff(down, axis=0) <= 0).all()
    assert down[0, 0] > down[-1, 0]


def test_pixels_are_square():
    frame = frame_of(Image(np.zeros(SHAPE), RAS))
    pixels = tile(frame, np.zeros(SHAPE), "coronal", 0, 2.0)
    assert pixels.shape == (round(6 * 3 / 2), 8)


def test_the_crop_keeps_the_mask_with_a_margin():
    mask = np.zeros((40, 40, 40), bool)
    mask[15:20, 18:22, 20] = True
    frame = frame_of(Image(mask, np.eye(4)), mask)
    assert frame.crop(mask).sum() == mask.sum()
    assert frame.shape == (5 + 12, 4 + 12, 1 + 12)


def test_cuts_lie_inside_the_mask_and_are_told_in_millimetres():
    mask = np.zeros(SHAPE, bool)
    mask[2:7, 1:9, 1:5] = True
    frame = frame_of(Image(mask, RAS), mask)
    cuts = cut_positions(frame, frame.crop(mask), 3)
    assert set(cuts) == set(PLANES)
    for plane, axis in PLANES.items():
        world = [millimetres(frame, plane, index) for index in cuts[plane]]
        inside = world_volume(RAS, axis)[mask]
        assert inside.min() <= min(world) <= max(world) <= inside.max()


def test_an_empty_mask_is_refused():
    with pytest.raises(DataError, match="mask is empty"):
        frame_of(Image(np.zeros(SHAPE), RAS), np.zeros(SHAPE, bool))
