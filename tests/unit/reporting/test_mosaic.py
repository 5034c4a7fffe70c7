"""Mosaics put every chosen slice in its place."""

import numpy as np
import pytest

from scan2map.images import Image
from scan2map.reporting.frame import frame_of, tile
from scan2map.reporting.mosaic import Colours, Outline, Scene, assemble, draw_mosaic, layout_of
from scan2map.reporting.pictures import encode, picture_of

SHAPE = (12, 14, 10)


@pytest.fixture
def layout():
    mask = np.zeros(SHAPE, bool)
    mask[2:10, 2:12, 2:8] = True
    return layout_of(frame_of(Image(mask, np.diag([2.0, 2, 2, 1]))), mask, 3)


def test_slices_stand_where_the_layout_says(layout):
    volume = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    canvas = assemble(layout, volume)
    assert len(layout.corners) == 9
    for (plane, index), (top, left) in layout.corners.items():
        expected = tile(layout.frame, layout.frame.crop(volume), plane, index, layout.pixel_mm)
        height, width = expected.shape
        assert np.array_equal(canvas[top : top + height, left : left + width], expected)


def test_slices_do_not_overlap(layout):
    filled = sum(np.isfinite(assemble(layout, np.ones(SHAPE))).ravel())
    sizes = {"axial": 12 * 14, "coronal": 12 * 10, "sagittal": 14 * 10}
    assert filled == sum(sizes[plane] for plane, _ in layout.corners)


def pixels(layout, scene):
    from io import BytesIO

    from PIL import Image as Pillow

    picture = picture_of(draw_mosaic(layout, scene, width_px=500), alt="test")
    assert picture.width == 500
    return np.asarray(Pillow.open(BytesIO(picture.content)).convert("RGB")).astype(int)


def test_outside_the_slices_is_black_and_values_follow_the_colour_map(layout):
    shown = pixels(layout, Scene(np.ones(SHAPE), Colours("gray", 0, 2)))
    assert shown[0, 0].tolist() == [0, 0, 0]
    values, counts = np.unique(shown.reshape(-1, 3), axis=0, return_counts=True)
    grey = values[counts.argsort()[::-1][:2]]
    assert any(np.abs(colour - 128).max() <= 2 for colour in grey)


def test_outlines_are_drawn_in_their_colour(layout):
    inner = np.zeros(SHAPE)
    inner[4:8, 4:10, 4:6] = 1
    scene = Scene(np.zeros(SHAPE), outlines=(Outline(inner, "#00ff00", width=3),))
    shown = pixels(layout, scene)
    assert ((shown[..., 1] > 200) & (shown[..., 0] < 60)).sum() > 50


def test_the_same_scene_gives_the_same_bytes(layout):
    scene = Scene(np.random.default_rng(1).random(SHAPE), Colours("viridis", 0, 1, "MD"))
    first, second = (picture_of(draw_mosaic(layout, scene, width_px=400), alt="a").content for _ in range(2))
    assert first == second


def test_pictures_carry_no_date_and_no_program_name():
    content = encode(np.zeros((4, 4), np.uint8))
    assert content[8:12] == b"WEBP"
    names, place = [], 12
    while place < len(content):
        names.append(content[place : place + 4].decode())
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    assert set(names) <= {"VP8 ", "VP8L"}
