"""Images come back as they were written, in the same bytes each time, and bad ones are refused."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image, load_image, require_same_grid, save_image

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 3, 0, -5], [0, 0, 4, 7], [0, 0, 0, 1]])


def test_round_trip_keeps_values_affine_and_voxel_size(tmp_path):
    data = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    save_image(tmp_path / "a" / "x.nii.gz", data, AFFINE)
    image = load_image(tmp_path / "a" / "x.nii.gz")
    np.testing.assert_array_equal(image.data, data)
    np.testing.assert_allclose(image.affine, AFFINE)
    np.testing.assert_allclose(image.voxel_size_mm, [2, 3, 4])


def test_same_data_give_the_same_bytes(tmp_path):
    data = np.arange(24.0).reshape(2, 3, 4)
    for name in ("one", "two"):
        save_image(tmp_path / name / "x.nii.gz", data, AFFINE)
    assert (tmp_path / "one/x.nii.gz").read_bytes() == (tmp_path / "two/x.nii.gz").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["x.nii.gz"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_are_refused(tmp_path, value):
    data = np.ones((2, 2, 2))
    data[0, 0, 0] = value
    save_image(tmp_path / "x.nii.gz", data, AFFINE)
    with pytest.raises(DataError, match="1 NaN or infinite"):
        load_image(tmp_path / "x.nii.gz")
    assert not np.isfinite(load_image(tmp_path / "x.nii.gz", finite=False).data).all()


def test_truncated_file_is_refused(tmp_path):
    save_image(tmp_path / "x.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)), AFFINE)
    whole = (tmp_path / "x.nii.gz").read_bytes()
    (tmp_path / "x.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"x\.nii\.gz"):
        load_image(tmp_path / "x.nii.gz")


def test_different_grids_are_refused():
    first = Image(np.zeros((2, 2, 2)), AFFINE)
    moved = Image(np.zeros((2, 2, 2)), AFFINE + np.eye(4))
    require_same_grid(first, Image(np.ones((2, 2, 2, 7)), AFFINE), names=("a", "b"))
    with pytest.raises(DataError, match="a and b are on different grids"):
        require_same_grid(first, moved, names=("a", "b"))
