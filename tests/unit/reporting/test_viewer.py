"""The slice viewer shows what the files hold."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from synthetic_tree import AFFINE

from scan2map.images import Image, save_image
from scan2map.reporting.frame import frame_of
from scan2map.reporting.viewer import build_viewer, coarse_grid, colour_table, montage, quantise

SHAPE = (9, 11, 7)


def decode(uri):
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Pillow.open(BytesIO(content)))


def voxels_of(layer, shape):
    """Levels (x, y, z) as the page's script reads them."""
    return decode(layer["uri"]).reshape(shape[2], shape[1], shape[0]).transpose(2, 1, 0)


@pytest.fixture
def files(tmp_path):
    values = np.random.default_rng(2).uniform(0, 0.9, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE)
    mask[1:8, 1:10, 1:6] = 1
    save_image(tmp_path / "map.nii.gz", values, AFFINE)
    save_image(tmp_path / "mask.nii.gz", mask, AFFINE)
    return {"map": tmp_path / "map.nii.gz", "mask": tmp_path / "mask.nii.gz"}, values, mask


def test_values_come_back_within_half_a_level(files):
    inputs, values, mask = files
    layer = {"name": "FA", "input": "map", "range": [0, 1], "masked": True}
    data = build_viewer(inputs, [layer], 2.0)
    levels = voxels_of(data["layers"][0], data["shape"]).astype(float)
    frame = frame_of(Image(values, AFFINE), mask > 0)
    inside = frame.crop(mask) > 0
    assert np.abs((levels - 1) / 254 - frame.crop(values))[inside].max() <= 0.5 / 254 + 1e-6
    assert (levels[~inside] == 0).all()


def test_positions_are_those_of_the_world(files):
    inputs, values, _ = files
    data = build_viewer(inputs, [{"name": "FA", "input": "map", "range": [0, 1]}], 2.0)
    levels = voxels_of(data["layers"][0], data["shape"])
    place = np.unravel_index(levels.argmax(), levels.shape)
    world = np.array(data["affine"]) @ [*place, 1]
    voxel = np.round(np.linalg.inv(AFFINE) @ world)[:3].astype(int)
    assert quantise(values[tuple(voxel)], 0, 1) == levels.max()


def test_fine_volumes_are_averaged_down(files):
    frame = frame_of(Image(np.zeros((20, 20, 20)), np.eye(4)))
    grid = coarse_grid(frame, 2.0)
    assert grid.data.shape == (10, 10, 10)
    assert grid.affine[:3, 3] == pytest.approx([0.5, 0.5, 0.5])
    assert coarse_grid(frame_of(Image(np.zeros(SHAPE), AFFINE)), 2.0) is None


def test_montage_rows_run_along_x():
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    rows = montage(volume)
    assert rows.shape == (12, 2)
    assert rows[2 * 3 + 1].tolist() == volume[:, 1, 2].tolist()


def test_colours_start_black_and_follow_the_map():
    table = bytes.fromhex(colour_table("gray"))
    assert len(table) == 256 * 3
    assert table[:6] == bytes(6)
    assert table[-3:] == b"\xff\xff\xff"


def test_outlines_tell_the_likeliest_tissue(files, tmp_path):
    inputs, _, mask = files
    fractions = {"CSF": 0.1, "GM": 0.2, "WM": 0.7}
    for name, fraction in fractions.items():
        save_image(tmp_path / f"{name}.nii.gz", fraction * mask, AFFINE)
        inputs[name] = tmp_path / f"{name}.nii.gz"
    data = build_viewer(inputs, [{"name": "FA", "input": "map", "range": [0, 1]}], 2.0)
    assert np.unique(decode(data["outlines"]["uri"])).tolist() == [0, 3]
