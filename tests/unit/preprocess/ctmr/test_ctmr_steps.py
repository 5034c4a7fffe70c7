"""CT and MRI of one simulated head, the CT in a frame of its own: places, numbers and refusals."""

import json

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.ctmr import steps
from scan2map.preprocess.ctmr.register import normalised_mutual_information, onto_grid
from scan2map.preprocess.registration import Transform, load_transform, rigid_matrix

BONE = {"engine": "threshold", "weights": None, "threshold_hu": 300, "least_volume_ml": 1.0}
SETTINGS = {"contrast": "flair", "bone": BONE}
AXES_MM = np.array([62.0, 76.0, 56.0])
CT_PLACE = rigid_matrix([7, -9, 12], np.radians([4, -3, 6]))  # head as the MRI sees it to the CT's world


def grid(voxel_mm, count):
    affine = np.diag([*voxel_mm, 1.0])
    affine[:3, 3] = -np.array(voxel_mm) * (np.array(count) - 1) / 2
    points = np.stack(np.meshgrid(*map(np.arange, count), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    return points, affine


def depth(points):
    """Distance below the surface of the brain, mm (negative outside)."""
    return (1 - np.linalg.norm(points / AXES_MM, axis=-1)) * AXES_MM.mean()


def soft(values):
    return 1 / (1 + np.exp(-np.asarray(values) / 0.7))


def ventricle(points):
    return soft(10 - np.linalg.norm((points - [9, -6, 8]) / [0.7, 1.6, 1.0], axis=-1))


def mri_of(points):
    inside = soft(depth(points))
    scalp = soft(depth(points) + 14) - soft(depth(points) + 8)
    return 400 * inside * (1 - 0.7 * ventricle(points)) + 250 * scalp + 150 * inside * soft(depth(points) - 12)


def ct_of(points):
    inside, skull, head = soft(depth(points)), soft(depth(points) + 8), soft(depth(points) + 14)
    return -1000 + 1000 * head + 35 * inside - 30 * ventricle(points) * inside + 900 * (skull - inside)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ctmr")
    noise = np.random.default_rng(3)
    points, affine = grid((4, 4, 5), (46, 54, 36))
    save_image(folder / "flair.nii.gz", mri_of(points) + noise.normal(0, 5, points.shape[:3]), affine)
    ct_points, ct_affine = grid((3, 3, 5), (64, 72, 40))
    inverse = np.linalg.inv(CT_PLACE)
    ct = ct_of(ct_points @ inverse[:3, :3].T + inverse[:3, 3]) + noise.normal(0, 4, ct_points.shape[:3])
    save_image(folder / "ct.nii.gz", ct, ct_affine)
    t1w_points, t1w_affine = grid((4, 4, 4), (48, 56, 42))
    save_image(folder / "t1w.nii.gz", mri_of(t1w_points), t1w_affine)
    inside = depth(t1w_points) > 0
    save_image(folder / "brain.nii.gz", inside, t1w_affine, dtype=np.uint8)
    for label in steps.TISSUES:
        save_image(folder / f"{label}.nii.gz", inside * (label == "GM"), t1w_affine)
    return folder


@pytest.fixture(scope="module")
def aligned(session):
    names = ("ct", "brain", "csf", "gm", "wm")
    output = {name: session / f"out_{name}.nii.gz" for name in names} | {"transform": session / "out.mat"}
    tissues = {label: session / f"{label}.nii.gz" for label in steps.TISSUES}
    inputs = [session / "ct.nii.gz"], [session / "flair.nii.gz"], session / "t1w.nii.gz", session / "brain.nii.gz"
    steps.align_ct(*inputs, tissues, SETTINGS, 1, output=output)
    return output


def test_the_ct_lies_where_the_head_is(aligned):
    inside = grid((10, 10, 10), (9, 9, 9))[0].reshape(-1, 3)
    true = inside @ CT_PLACE[:3, :3].T + CT_PLACE[:3, 3]
    error = np.linalg.norm(load_transform(aligned["transform"]).points(inside) - true, axis=1)
    assert error.max() < 2.5  # mm: half a slice, at the corners of the head


def test_ct_numbers_survive_the_registration(aligned):
    ct, brain = load_image(aligned["ct"]), load_image(aligned["brain"])
    points = grid((4, 4, 5), (46, 54, 36))[0]
    deep = (depth(points) > 20) & (ventricle(points) < 0.01)
    assert np.median(ct.data[deep]) == pytest.approx(35, abs=1)
    assert ct.data[0, 0, 0] == pytest.approx(-1000, abs=20)
    assert ((brain.data > 0) == (depth(points) > 0)).mean() > 0.99


def test_the_sidecar_says_how_well_it_fits(aligned):
    facts = json.loads(aligned["transform"].with_suffix(".json").read_text())
    assert facts["NormalisedMutualInformation"] > facts["NormalisedMutualInformationBefore"] + 0.02
    assert facts["BrainInsideSkull"] > 0.93


def test_masks_and_intensities(session, aligned):
    output = {"mri": session / "mri.nii.gz", "bone": session / "bone.nii.gz"}
    steps.prepare_fusion(aligned["ct"], [session / "flair.nii.gz"], aligned["brain"], SETTINGS, output=output)
    points = grid((4, 4, 5), (46, 54, 36))[0]
    bone, skull = load_image(output["bone"]).data > 0, (depth(points) > -7) & (depth(points) < -1)
    assert (bone & skull).sum() > 0.95 * skull.sum()
    assert not bone[depth(points) > 4].any()
    mri = load_image(output["mri"]).data
    assert mri.min() == -2
    assert mri.max() <= 2


def test_the_engine_of_the_settings_finds_the_bone(session, aligned, monkeypatch):
    ct, asked = load_image(aligned["ct"]), []
    monkeypatch.setattr(
        "scan2map.tools.totalsegmentator.segment_skull",
        lambda image, weights: asked.append(weights) or image.data > 500,
    )
    other = BONE | {"engine": "totalsegmentator", "weights": "here"}
    assert np.array_equal(steps.find_bone(ct, other), ct.data > 500)
    assert asked == ["here"]
    assert steps.find_bone(ct, BONE).sum() > (ct.data > 500).sum()
    assert asked == ["here"]


def test_another_head_position_that_cannot_be_reconciled_is_refused(session, aligned, monkeypatch):
    far = Transform(rigid_matrix([40, 0, 0], [0, 0, 0]))
    monkeypatch.setattr("scan2map.preprocess.ctmr.register.register_rigid", lambda *_, **__: far)
    scan, mri, brain = (
        load_image(path) for path in (session / "ct.nii.gz", session / "flair.nii.gz", aligned["brain"])
    )
    with pytest.raises(DataError, match="could not be registered"):
        steps.register_ct(scan, mri, brain.data > 0, 1)


def test_two_runs_of_a_role_are_refused(session):
    with pytest.raises(DataError, match="must have one CT image"):
        steps.choose_one([session / "ct.nii.gz", session / "flair.nii.gz"], "CT")


@pytest.mark.parametrize("high", [1, 255, 1000])
def test_the_experts_mask_may_be_stored_in_any_scale(session, tmp_path, high):
    points, affine = grid((2, 2, 5), (80, 90, 36))
    drawn = np.linalg.norm(points - [20, 10, 5], axis=-1) < 14
    save_image(tmp_path / "drawn.nii.gz", high * drawn, affine)
    steps.map_lesion([tmp_path / "drawn.nii.gz"], session / "flair.nii.gz", output=tmp_path / "lesion.nii.gz")
    volume_ml = json.loads((tmp_path / "lesion.json").read_text())["Volume"]["Value"]
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 1.4**3, rel=0.15)


def test_a_healthy_subjects_mask_stays_empty(session, tmp_path):
    save_image(tmp_path / "drawn.nii.gz", np.zeros((10, 10, 10)), np.eye(4))
    steps.map_lesion([tmp_path / "drawn.nii.gz"], session / "flair.nii.gz", output=tmp_path / "lesion.nii.gz")
    assert not load_image(tmp_path / "lesion.nii.gz").data.any()


def test_outside_the_ct_is_air():
    ct = Image(np.full((4, 4, 4), 40.0, np.float32), np.eye(4))
    grown = onto_grid(ct, Image(np.zeros((8, 4, 4)), np.eye(4)), Transform())
    assert grown.data[:4] == pytest.approx(40)
    assert grown.data[5:] == pytest.approx(-1000)


def test_mutual_information_of_independent_and_of_identical_samples():
    values = np.random.default_rng(0).uniform(size=(2, 200_000))
    assert normalised_mutual_information(*values) == pytest.approx(1.0, abs=2e-3)
    assert normalised_mutual_information(values[0], -3 * values[0]) == pytest.approx(2.0)
