"""Transforms against ITK itself, resampling against what must be conserved, registration of known misplacements."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.registration import (
    Transform,
    apply_transform,
    load_transform,
    register_rigid,
    resample_isotropic,
    rigid_matrix,
    rigid_parameters,
    save_transform,
    to_ants,
    voxel_centres,
)

OBLIQUE = rigid_matrix((-20, 5, 3), (0.1, -0.2, 0.05)) @ np.diag([2.0, 2.5, 3.0, 1.0])


def blob(shape=(24, 22, 20), affine=None, centre=(0.4, 0.5, 0.6)) -> Image:
    """A smooth, lopsided image."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij"))
    first = np.exp(-((grid - np.array(centre)[:, None, None, None]) ** 2).sum(0) / 0.03)
    second = np.exp(-((grid - np.array([0.7, 0.35, 0.4])[:, None, None, None]) ** 2).sum(0) / 0.01)
    return Image((100 * first + 60 * second).astype(np.float32), np.diag([3.0, 3, 3, 1]) if affine is None else affine)


def test_rigid_parameters_invert_rigid_matrix():
    matrix = rigid_matrix((1.0, -2.0, 3.0), (0.1, -0.2, 0.3), (10, 20, -5))
    translation, rotation = rigid_parameters(matrix, (10, 20, -5))
    np.testing.assert_allclose(translation, (1, -2, 3), atol=1e-9)
    np.testing.assert_allclose(rotation, (0.1, -0.2, 0.3), atol=1e-9)
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)


def test_rotation_keeps_its_centre():
    matrix = rigid_matrix((0, 0, 0), (0.3, 0.1, -0.2), (7, 8, 9))
    np.testing.assert_allclose(matrix @ [7, 8, 9, 1], [7, 8, 9, 1], atol=1e-12)


def test_linear_file_means_the_same_to_itk(tmp_path):
    import ants

    matrix = rigid_matrix((4, -3, 2), (0.2, 0.1, -0.3))
    matrix[0, 1] += 0.1
    save_transform(tmp_path / "a.mat", Transform(matrix))
    point = np.array([12.0, -7.0, 30.0])
    theirs = ants.read_transform(str(tmp_path / "a.mat")).apply_to_point(list(point * [-1, -1, 1]))
    np.testing.assert_allclose(np.array(theirs) * [-1, -1, 1], (matrix @ np.r_[point, 1])[:3], atol=1e-6)


def test_itks_own_file_is_read(tmp_path):
    import ants

    transform = ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, center=(3.0, 4.0, 5.0),
        matrix=rigid_matrix((0, 0, 0), (0.1, 0.2, 0.3))[:3, :3], offset=(1.0, 2.0, 3.0),
    )  # fmt: skip
    ants.write_transform(transform, str(tmp_path / "b.mat"))
    point = np.array([5.0, 6.0, 7.0])
    theirs = np.array(transform.apply_to_point(list(point * [-1, -1, 1]))) * [-1, -1, 1]
    np.testing.assert_allclose(load_transform(tmp_path / "b.mat").points(point[None])[0], theirs, atol=1e-5)


def test_warp_file_means_the_same_to_ants(tmp_path):
    import ants

    moving, fixed = blob(), blob(affine=np.diag([2.8, 3.1, 2.9, 1]))
    shift = np.stack([blob(fixed.data.shape).data / 30, 0 * fixed.data, blob(fixed.data.shape).data / 50], axis=-1)
    transform = Transform(rigid_matrix((2, -1, 1), (0, 0, 0.1)), Image(shift.astype(np.float32), fixed.affine))
    save_transform(tmp_path / "w.nii.gz", transform)
    theirs = ants.apply_transforms(to_ants(fixed), to_ants(moving), [str(tmp_path / "w.nii.gz")]).numpy()
    inner = np.s_[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(apply_transform(moving, fixed, transform).data[inner], theirs[inner], atol=0.05)
    np.testing.assert_allclose(
        apply_transform(moving, fixed, load_transform(tmp_path / "w.nii.gz")).data[inner], theirs[inner], atol=0.05
    )


def test_files_are_the_same_bytes_every_time(tmp_path):
    for name in ("a", "b"):
        save_transform(tmp_path / f"{name}.mat", Transform(rigid_matrix((1, 2, 3), (0.1, 0, 0))))
    assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()


def test_wrong_file_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not fit"):
        save_transform(tmp_path / "a.nii.gz", Transform())
    (tmp_path / "bad.mat").write_bytes(b"not a transform")
    with pytest.raises(DataError, match=r"cannot be read.*bad\.mat"):
        load_transform(tmp_path / "bad.mat")


def test_identity_changes_nothing():
    image = blob(affine=OBLIQUE)
    for interpolation in ("nearest", "linear", "mean"):
        np.testing.assert_allclose(
            apply_transform(image, image, Transform(), interpolation).data, image.data, rtol=1e-4, atol=1e-3
        )
    np.testing.assert_allclose(apply_transform(image, image, Transform(), "cubic").data, image.data, atol=0.02)


def test_labels_stay_labels():
    labels = Image((blob().data > 30).astype(np.int16) * 7, blob().affine)
    moved = apply_transform(labels, blob(affine=OBLIQUE), Transform(), "nearest").data
    assert moved.dtype == np.int16
    assert set(np.unique(moved)) <= {0, 7}


def test_mean_onto_a_coarse_grid_keeps_the_amount():
    fine = blob(shape=(30, 30, 30), affine=np.diag([1.0, 1, 1, 1]))
    coarse = Image(np.zeros((12, 12, 8)), np.diag([3.0, 3, 5, 1]) + np.array([[0, 0, 0, -2]] * 3 + [[0, 0, 0, 0]]))
    moved = apply_transform(fine, coarse, Transform(), "mean")
    assert moved.data.sum() * 45 == pytest.approx(fine.data.sum(), rel=0.01)


def test_field_of_view_ends_at_the_outer_faces():
    ones = Image(np.ones((4, 4, 4), np.float32), np.eye(4))
    inside = apply_transform(ones, ones, Transform(rigid_matrix((0.45, 0, 0), (0, 0, 0))))
    outside = apply_transform(ones, ones, Transform(rigid_matrix((0.6, 0, 0), (0, 0, 0))))
    assert inside.data.min() == 1
    assert (outside.data[-1] == 0).all()
    assert (outside.data[:-1] == 1).all()


def test_isotropic_resampling_keeps_place_and_mean():
    image = blob(affine=OBLIQUE)
    found = resample_isotropic(image, 4.0)
    np.testing.assert_allclose(found.voxel_size_mm, 4.0)
    corner = voxel_centres((1, 1, 1), image.affine, (-0.5,) * 3), voxel_centres((1, 1, 1), found.affine, (-0.5,) * 3)
    np.testing.assert_allclose(*corner, atol=1e-9)
    volumes = [abs(np.linalg.det(one.affine[:3, :3])) * one.data.sum() for one in (image, found)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)


def test_registration_finds_a_known_misplacement():
    fixed = blob(shape=(32, 30, 28))
    truth = rigid_matrix((4.0, -3.0, 2.0), (0.05, -0.04, 0.08), (45, 45, 40))
    moving = Image(fixed.data, truth @ fixed.affine)
    found = register_rigid(
        fixed, moving, metric="GC", shrink_factors=(2, 1), smoothing_voxels=(1, 0), iterations=(100, 50)
    )
    inside = voxel_centres(fixed.data.shape, fixed.affine)[fixed.data.ravel() > 20]
    error = np.linalg.norm(found.points(inside) - Transform(truth).points(inside), axis=1)
    assert error.mean() < 0.3
    again = register_rigid(
        fixed, moving, metric="GC", shrink_factors=(2, 1), smoothing_voxels=(1, 0), iterations=(100, 50)
    )
    np.testing.assert_array_equal(found.linear, again.linear)


def test_inverse_goes_back():
    transform = Transform(rigid_matrix((1, 2, 3), (0.1, 0.2, 0.3)))
    points = np.random.default_rng(0).normal(size=(5, 3)) * 30
    np.testing.assert_allclose(transform.inverse().points(transform.points(points)), points, atol=1e-9)
    with pytest.raises(ValueError, match="linear"):
        Transform(np.eye(4), blob()).inverse()
