"""Choice of the T1w image, brain mask, and what stops them."""

import json

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.anat.brain import check_brain_volume, choose_t1w, deepbet_mask, extract_brain_files, load_t1w


def t1w_file(folder, name, image_type):
    path = folder / f"{name}_T1w.nii.gz"
    save_image(path, np.arange(27.0).reshape(3, 3, 3), np.eye(4))
    (folder / f"{name}_T1w.json").write_text(json.dumps({"ImageType": image_type}))
    return path


@pytest.fixture(scope="module")
def digital_head():
    """A coarse digital subject and a T1-weighted image of it."""
    from scan2map import config
    from scan2map.phantom.subject import build_subject

    subject = build_subject("01", config.check_block("phantom_subject", {"voxel_size_mm": 4.0}), 1)
    brightness = {"csf": 180, "gm": 650, "wm": 1000, "lesion": 500, "skull": 80, "scalp": 1300}
    image = sum(brightness[name] * fraction for name, fraction in subject.fractions.items())
    noise = np.random.default_rng(0).normal(0, 15, image.shape)
    return Image(np.abs(image + noise).astype(np.float32), subject.affine), subject.brain > 0.5


def test_the_normalised_image_is_preferred(tmp_path):
    plain = t1w_file(tmp_path, "run-1", ["ORIGINAL", "PRIMARY", "M"])
    normalised = t1w_file(tmp_path, "run-2", ["ORIGINAL", "PRIMARY", "M", "NORM"])
    assert choose_t1w([plain, normalised]) == normalised
    assert choose_t1w([plain]) == plain


def test_no_or_useless_t1w_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no T1w"):
        choose_t1w([])
    save_image(tmp_path / "flat.nii.gz", np.ones((3, 3, 3)), np.eye(4))
    with pytest.raises(DataError, match="empty"):
        load_t1w([tmp_path / "flat.nii.gz"])
    save_image(tmp_path / "many.nii.gz", np.random.default_rng(0).random((3, 3, 3, 2)), np.eye(4))
    with pytest.raises(DataError, match="not a volume"):
        load_t1w([tmp_path / "many.nii.gz"])


def test_impossible_brain_volumes_are_refused():
    mask = np.zeros((100, 100, 100), bool)
    mask[:, :, :60] = True
    assert check_brain_volume(mask, np.diag([1.0, 1, 2, 1])) == pytest.approx(1200)
    with pytest.raises(DataError, match="found: 5400 ml"):
        check_brain_volume(mask, np.diag([3.0, 3, 1, 1]))
    with pytest.raises(DataError, match="not plausible"):
        check_brain_volume(np.zeros((5, 5, 5), bool), np.eye(4))


@pytest.fixture(scope="module")
def found(digital_head, tmp_path_factory):
    """Brain mask and sidecar that the rule writes for the digital head."""
    image, _ = digital_head
    folder = tmp_path_factory.mktemp("brain")
    save_image(folder / "sub-01_T1w.nii.gz", image.data, image.affine)
    extract_brain_files([folder / "sub-01_T1w.nii.gz"], {"brain_threshold": 0.5}, mask=folder / "mask.nii.gz")
    return load_image(folder / "mask.nii.gz").data > 0, json.loads((folder / "mask.json").read_text())


def test_the_digital_brain_is_found(digital_head, found):
    _, truth = digital_head
    mask, sidecar = found
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.93
    assert sidecar["BrainVolume"]["Value"] == pytest.approx(mask.sum() * 0.064, rel=1e-3)
    assert sidecar["GeneratedBy"]["Step"] == "extract_brain"


def test_orientation_of_the_voxel_axes_does_not_matter(digital_head, found):
    image, _ = digital_head
    turned = Image(image.data[::-1].transpose(1, 0, 2), np.eye(4))
    turned.affine[:3, :3] = image.affine[:3, :3] @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    turned.affine[:3, 3] = image.affine[:3, :3] @ [image.data.shape[0] - 1, 0, 0] + image.affine[:3, 3]
    np.testing.assert_array_equal(deepbet_mask(turned), found[0][::-1].transpose(1, 0, 2))
