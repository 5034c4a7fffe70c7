import numpy as np
import pytest
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from scan2map.errors import DataError
from scan2map.preprocess.dwi.gradients import (
    GradientTable,
    bvec_to_world,
    read_gradients,
    require_tensor_directions,
    shell_values,
    write_gradients,
)

SIX = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]]) / np.sqrt(2)


def table(b_values=(0, *[1000] * 6), vectors=SIX):
    return GradientTable(np.array(b_values, dtype=float), np.vstack([np.zeros(3), vectors]))


def save(folder, b_values, b_vectors):
    np.savetxt(folder / "x.bval", np.atleast_2d(b_values), fmt="%g")
    np.savetxt(folder / "x.bvec", np.asarray(b_vectors).T, fmt="%.6f")
    return folder / "x.bval", folder / "x.bvec"


def test_tables_survive_writing(tmp_path):
    before = table()
    write_gradients(before, tmp_path / "a.bval", tmp_path / "a.bvec")
    after = read_gradients(tmp_path / "a.bval", tmp_path / "a.bvec", 7)
    np.testing.assert_allclose(after.b_values, before.b_values)
    np.testing.assert_allclose(after.b_vectors, before.b_vectors, atol=1e-7)


@pytest.mark.parametrize("mirrored", [False, True])
def test_bvec_axes_are_voxel_axes_with_the_first_mirrored_where_the_determinant_is_positive(mirrored):
    turn = Rotation.from_euler("xyz", [20, -10, 30], degrees=True).as_matrix()
    signs = np.array([-1 if mirrored else 1, 1, 1])
    affine = from_matvec(turn * signs * [2, 2.5, 3], [1, 2, 3])
    # FSL: what lies along the first voxel axis of a neurological (determinant > 0) image has b-vector -x.
    first_axis = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    bvec = np.array([1.0, 0, 0]) if mirrored else np.array([-1.0, 0, 0])
    np.testing.assert_allclose(bvec_to_world(affine) @ bvec, first_axis, atol=1e-12)
    np.testing.assert_allclose(bvec_to_world(affine) @ [0, 0, 1], affine[:3, 2] / 3, atol=1e-12)


def test_storage_order_does_not_change_world_directions():
    neurological, radiological = np.diag([2.0, 2, 2, 1]), np.diag([-2.0, 2, 2, 1])
    same = table().world_directions(neurological)
    np.testing.assert_allclose(table().world_directions(radiological), same, atol=1e-12)


def test_a_head_turned_with_the_gradient_sees_the_same_direction():
    affine = np.diag([-2.0, 2, 2, 1])
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    along_x = GradientTable(np.array([1000.0]), np.array([[1.0, 0, 0]]) @ bvec_to_world(affine))
    seen = along_x.rotated(turn[None], affine).world_directions(affine)
    # The head's own y axis, turned by 90 degrees about z, points along -x of the scanner.
    np.testing.assert_allclose(seen, [[0, -1, 0]], atol=1e-12)


def test_shells_gather_scattered_b_values():
    shells = shell_values(np.array([0, 5, 995, 1005, 2000, 2040, 2950, 3000, 3050.0]), 50)
    np.testing.assert_allclose(shells, [0, 0, 1000, 1000, 2020, 2020, 3000, 3000, 3000])


def test_rounded_vectors_become_unit_vectors(tmp_path):
    files = save(tmp_path, [0, 1000], [[0, 0, 0], [0.702, 0.702, 0]])
    vectors = read_gradients(*files, 2).b_vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1])


@pytest.mark.parametrize(
    ("b_values", "vectors", "volumes", "words"),
    [
        ([0, 1000], [[0, 0, 0], [1, 0, 0]], 3, "does not fit"),
        ([0, 1000, 1000], [[0, 0, 0], [1, 0, 0]], 3, "does not fit"),
        ([0, 1000], [[0, 0, 0], [0.5, 0, 0]], 2, "unit length"),
        ([0, 1000], [[0, 0, 0], [0, 0, 0]], 2, "unit length"),
        ([0, -1000], [[0, 0, 0], [1, 0, 0]], 2, "impossible"),
        ([0, np.nan], [[0, 0, 0], [1, 0, 0]], 2, "impossible"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, b_values, vectors, volumes, words):
    files = save(tmp_path, b_values, vectors)
    with pytest.raises(DataError, match=words):
        read_gradients(*files, volumes)


def test_missing_and_garbled_files_are_refused(tmp_path):
    (tmp_path / "x.bval").write_text("0 a thousand")
    for name in ("x", "absent"):
        with pytest.raises(DataError, match="cannot be read"):
            read_gradients(tmp_path / f"{name}.bval", tmp_path / "x.bvec", 2)


@pytest.mark.parametrize(
    "bad",
    [
        table([0] * 7),
        table([1000] * 7, SIX),
        table([0, *[1000] * 6], np.tile([1.0, 0, 0], (6, 1))),
        table([0, *[1000] * 6], SIX[[0, 1, 2, 3, 4, 4]]),
    ],
    ids=["all b = 0", "no b = 0", "one direction", "five directions"],
)
def test_tables_that_cannot_tell_a_tensor_are_refused(bad):
    with pytest.raises(DataError, match="cannot determine"):
        require_tensor_directions(bad, "x.bval")


def test_six_directions_and_one_b0_tell_a_tensor():
    require_tensor_directions(table(), "x.bval")
