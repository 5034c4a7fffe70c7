"""Template registration of a head whose place is known, and atlas regions."""

import json

import numpy as np
import pandas as pd
import pytest

from scan2map.errors import DataError, SettingError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.anat.template import (
    load_label_names,
    load_points,
    load_template,
    map_atlas,
    map_atlas_files,
    register_template,
    register_template_files,
)
from scan2map.preprocess.registration import Transform, load_transform, rigid_matrix, voxel_centres

SETTINGS = {"resolution_mm": 6, "nonlinear_iterations": [10, 0]}


@pytest.fixture(scope="module")
def subject():
    """The template's brain, smaller and elsewhere; and the transform from there to MNI152."""
    template = load_template(6)
    to_subject = rigid_matrix((8, -5, 12), (0.1, -0.05, 0.08)) @ np.diag([0.92, 0.95, 0.9, 1])
    return Image(template.data, to_subject @ template.affine), np.linalg.inv(to_subject)


def test_a_known_place_is_found(subject, tmp_path):
    brain, truth = subject
    mask = brain.data > 0
    save_image(tmp_path / "t1w.nii.gz", brain.data, brain.affine)
    save_image(tmp_path / "mask.nii.gz", mask, brain.affine, dtype=np.uint8)
    register_template_files(
        tmp_path / "t1w.nii.gz", tmp_path / "mask.nii.gz", {"template": SETTINGS}, 1, transform=tmp_path / "xfm.nii.gz"
    )
    loaded = load_image(tmp_path / "t1w.nii.gz")
    world = voxel_centres(mask.shape, loaded.affine)[mask.ravel()]
    expected = Transform(truth @ brain.affine @ np.linalg.inv(loaded.affine)).points(world)
    error = np.linalg.norm(load_transform(tmp_path / "xfm.nii.gz").points(world) - expected, axis=1)
    assert error.mean() < 2.0
    assert json.loads((tmp_path / "xfm.json").read_text())["BrainOverlap"] > 0.9


def test_something_that_is_no_brain_is_refused():
    bar = np.zeros((30, 30, 30), np.float32)
    bar[2:28, 14:16, 14:16] = np.linspace(1, 2, 26)[:, None, None]
    with pytest.raises(DataError, match="overlap"):
        register_template(Image(bar, np.diag([6.0, 6, 6, 1])), SETTINGS, 1)


@pytest.mark.parametrize("name", ["lobes", "vascular"])
def test_shipped_atlases_are_symmetric_and_inside_the_head(root, name):
    points, labels, names = load_points(root / "resources" / "atlases" / f"{name}.tsv")
    assert set(labels) == set(names) == set(range(1, len(names) + 1))
    right = {tuple(p) for p, label in zip(points, labels, strict=True) if names[label].endswith("_R")}
    left = {(-x, y, z) for (x, y, z), label in zip(points, labels, strict=True) if names[label].endswith("_L")}
    assert right == left
    assert right
    assert all(x > 0 for x, _, _ in right)
    template = load_template(2)
    voxels = np.round(np.linalg.inv(template.affine) @ np.c_[points, np.ones(len(points))].T).astype(int)[:3]
    assert (template.data[tuple(voxels)] > 0).mean() > 0.95


def test_known_places_get_their_lobe(root):
    mask = Image(np.ones((1, 1, 1), bool), np.eye(4))
    places = {"frontal_R": (30, 40, 20), "occipital_L": (-15, -90, 5), "temporal_R": (56, -20, -15),
              "parietal_L": (-40, -50, 50), "cerebellum_R": (25, -65, -40), "deep_L": (-12, -18, 8),
              "brainstem": (0, -28, -36)}  # fmt: skip
    for expected, place in places.items():
        labels, names = map_atlas(root / "resources/atlases/lobes.tsv", mask, Transform(rigid_matrix(place, (0, 0, 0))))
        assert names[int(labels[0, 0, 0])] == expected


def test_label_images_are_brought_by_nearest_neighbour(tmp_path):
    labels = np.zeros((4, 4, 4), np.int16)
    labels[2:] = 5
    save_image(tmp_path / "mine.nii.gz", labels, np.eye(4), dtype=np.int16)
    (tmp_path / "mine.tsv").write_text("index\tname\n5\tright half\n")
    mask = np.ones((4, 4, 4), bool)
    mask[:, 0] = False
    save_image(tmp_path / "mask.nii.gz", mask, np.eye(4), dtype=np.uint8)
    from scan2map.preprocess.registration import save_transform

    save_transform(tmp_path / "shift.mat", Transform(rigid_matrix((1, 0, 0), (0, 0, 0))))
    map_atlas_files(
        tmp_path / "mine.nii.gz", tmp_path / "mask.nii.gz", tmp_path / "shift.mat", labels=tmp_path / "out.nii.gz"
    )
    out = load_image(tmp_path / "out.nii.gz", dtype=np.int32).data
    np.testing.assert_array_equal(out[:, 1, 1], [0, 5, 5, 0])
    assert not out[:, 0].any()
    assert json.loads((tmp_path / "out.json").read_text())["Labels"] == {"5": "right half"}


def test_incomplete_atlas_tables_are_refused(tmp_path):
    pd.DataFrame({"index": [1], "name": ["a"], "x_mm": [0]}).to_csv(tmp_path / "a.tsv", sep="\t")
    with pytest.raises(SettingError, match="lacks columns"):
        load_points(tmp_path / "a.tsv")
    with pytest.raises(SettingError, match="no table of labels"):
        load_label_names(tmp_path / "b.nii.gz")
