"""The volumes of the viewer are what the files hold: values, places, colours, and the library as it was published."""

import base64
import gzip
import hashlib

import nibabel as nib
import numpy as np
import pytest
from synthetic_tree import AFFINE

from scan2map.images import Image, save_image
from scan2map.reporting.frame import frame_of
from scan2map.reporting.viewer import LIBRARY, build_viewer, coarse_grid, colour_nodes, packed_library

SHAPE = (9, 11, 7)
FA = {"name": "FA", "input": "map", "range": [0, 1]}


def volume(data):
    """The image that the browser unpacks."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(data)))


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
    layer = build_viewer(inputs, [FA | {"masked": True}], 2.0)["layers"][0]
    image = volume(layer["data"])
    frame = frame_of(Image(values, AFFINE), mask > 0)
    inside = frame.crop(mask) > 0
    assert np.abs(image.get_fdata() - frame.crop(values))[inside].max() <= 0.5 / 254 + 1e-6
    levels = np.asarray(image.dataobj.get_unscaled())
    assert levels.dtype == np.uint8
    assert (levels[~inside] == 0).all()
    assert (levels[inside] > 0).all()


def test_low_values_of_an_overlay_may_be_left_clear(files):
    inputs, values, mask = files
    layer = build_viewer(inputs, [FA | {"masked": True, "clear_below": 0.3}], 2.0)["layers"][0]
    levels = np.asarray(volume(layer["data"]).dataobj.get_unscaled())
    frame = frame_of(Image(values, AFFINE), mask > 0)
    assert np.array_equal(levels > 0, (frame.crop(mask) > 0) & (frame.crop(values) >= 0.3))


def test_positions_are_those_of_the_world(files):
    inputs, values, _ = files
    image = volume(build_viewer(inputs, [FA], 2.0)["layers"][0]["data"])
    shown = image.get_fdata()
    place = np.unravel_index(shown.argmax(), shown.shape)
    voxel = np.round(np.linalg.inv(AFFINE) @ image.affine @ [*place, 1])[:3].astype(int)
    assert values[tuple(voxel)] == pytest.approx(shown.max(), abs=0.5 / 254 + 1e-6)


def test_fine_volumes_are_averaged_down(files):
    frame = frame_of(Image(np.zeros((20, 20, 20)), np.eye(4)))
    grid = coarse_grid(frame, 2.0)
    assert grid.data.shape == (10, 10, 10)
    assert grid.affine[:3, 3] == pytest.approx([0.5, 0.5, 0.5])
    assert coarse_grid(frame_of(Image(np.zeros(SHAPE), AFFINE)), 2.0) is None


def test_directions_become_colours(files, tmp_path):
    inputs, *_ = files
    direction = np.zeros((*SHAPE, 3), np.float32)
    direction[..., 1] = 1
    save_image(tmp_path / "direction.nii.gz", direction, AFFINE)
    inputs["direction"] = tmp_path / "direction.nii.gz"
    layer = {"name": "Direction", "input": "direction", "anisotropy": "map", "range": [0, 1]}
    colours = np.asarray(volume(build_viewer(inputs, [layer], 2.0)["layers"][0]["data"]).dataobj)
    assert not colours["R"].any()
    assert colours["G"].max() == 255


def test_outside_has_no_colour_and_the_ends_are_those_of_the_map():
    nodes = colour_nodes("viridis")
    assert (nodes["I"][0], nodes["A"][0]) == (0, 0)
    assert (nodes["I"][-1], nodes["A"][1]) == (255, 255)
    assert [nodes[sign][-1] for sign in "RGB"] == [253, 231, 37]
    assert all(len(values) == len(nodes["I"]) for values in nodes.values())


def test_outline_is_white_matter(files, tmp_path):
    inputs, _, mask = files
    save_image(tmp_path / "WM.nii.gz", 0.7 * mask, AFFINE)
    inputs["WM"] = tmp_path / "WM.nii.gz"
    data = build_viewer(inputs, [FA], 2.0)["outline"]
    assert volume(data["data"]).get_fdata().sum() == mask.sum()
    assert build_viewer({"map": inputs["map"], "mask": inputs["mask"]}, [FA], 2.0)["outline"] is None


def test_the_same_volume_makes_the_same_bytes(files):
    assert build_viewer(files[0], [FA], 2.0) == build_viewer(files[0], [FA], 2.0)


def test_library_is_the_published_one_with_its_licences():
    known = (LIBRARY / "niivue.sha256").read_text().split()[0]
    content = gzip.decompress(base64.b64decode(packed_library()["script"]))
    assert hashlib.sha256(content).hexdigest() == known
    assert "BSD 2-Clause License" in packed_library()["license"]
