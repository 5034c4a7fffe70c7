"""Pictures of images without a brain mask: the head is found, views lie on one grid."""

import numpy as np
import pytest
from synthetic_tree import AFFINE

from scan2map.images import save_image
from scan2map.reporting.figures.conversion import head_of, slices
from scan2map.reporting.figures.scenes import Style

SHAPE = (20, 24, 16)


@pytest.fixture
def ball():
    places = np.indices(SHAPE) - np.array([10, 12, 8])[:, None, None, None]
    return (np.square(places).sum(0) < 36).astype(np.float32)


def test_head_is_the_largest_part(ball):
    values = 100 * ball
    values[0, 0, 0] = 90
    head = head_of(values - 1000)
    assert head.sum() == ball.sum()
    assert head_of(np.zeros(SHAPE)).all()


def test_views_share_the_slices_of_the_first_image(ball, tmp_path):
    save_image(tmp_path / "series.nii.gz", np.stack([100 * ball, 300 * ball], -1), AFFINE)
    fine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    save_image(tmp_path / "other.nii.gz", np.kron(ball, np.ones((2, 2, 2))).astype(np.float32), fine)
    views = [
        {"name": "mean", "input": "series", "range": [0, 300]},
        {"name": "first", "input": "series", "volume": 0, "range": [0, 300]},
        {"name": "other", "input": "other"},
    ]
    inputs = {"series": tmp_path / "series.nii.gz", "other": tmp_path / "other.nii.gz"}
    pictures = slices(inputs, {"alt": "Images", "views": views}, Style(3, 300))
    assert [picture.label for picture in pictures] == ["mean", "first", "other"]
    assert len({(picture.width, picture.height) for picture in pictures}) == 1
    assert len({picture.content for picture in pictures}) == 3
    assert pictures[0].content[:4] == b"RIFF"
