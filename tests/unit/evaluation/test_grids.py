"""Images on one grid before they are compared."""

import numpy as np
import pytest

from scan2map.evaluation.grids import interior, on_grid, same_grid
from scan2map.images import Image


def image(affine, shape=(6, 7, 8)):
    """A volume that holds its world x coordinate."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return Image((voxels @ affine[:3, :3].T + affine[:3, 3])[..., 0].astype(np.float32), affine)


FLIPPED = np.array([[-2.0, 0, 0, 12], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])


def test_images_on_the_same_grid_stay_untouched():
    first = image(np.eye(4))
    assert on_grid(first, image(np.eye(4))) is first


@pytest.mark.parametrize("change", [1.0, 0.02])
def test_a_shift_makes_another_grid(change):
    moved = np.eye(4)
    moved[0, 3] = change
    assert not same_grid(image(np.eye(4)), image(moved))
    assert same_grid(image(np.eye(4)), image(moved), tolerance_mm=2)


def test_resampling_keeps_world_positions():
    reference = Image(np.zeros((4, 5, 5)), FLIPPED)
    values = on_grid(image(np.eye(4), (16, 16, 16)), reference).data
    expected = 12 - 2.0 * np.arange(4)
    assert values[:, 2, 2] == pytest.approx(expected, abs=1e-4)


def test_outside_the_field_of_view_is_zero():
    far = np.eye(4)
    far[:3, 3] = 100
    assert not on_grid(image(np.eye(4)), Image(np.zeros((3, 3, 3)), far)).data.any()


def test_the_interior_loses_its_edge():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:8, 1:8, 1:8] = True
    inside = interior(mask, 2)
    assert inside[4, 4, 4]
    assert inside.sum() == 27
    assert interior(mask, 0).sum() == mask.sum()
