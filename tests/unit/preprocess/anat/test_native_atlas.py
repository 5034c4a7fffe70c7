"""Label images of one subject's own: found by name, brought onto the T1w grid, refused when of another head."""

import json

import numpy as np
import pytest

from scan2map import config, doctor
from scan2map.errors import DataError, SettingError
from scan2map.images import load_image, save_image
from scan2map.preprocess.anat.native_atlas import (
    map_native_atlas_files,
)
from scan2map.preprocess.anat.native_paths import missing_native_atlases, native_atlas_path, session_atlases


@pytest.fixture
def files(tmp_path):
    """A brain mask of 2 mm voxels and labels of 1 mm voxels on the same place."""
    mask = np.zeros((6, 6, 6), bool)
    mask[1:5, 1:5, 1:5] = True
    save_image(tmp_path / "mask.nii.gz", mask, np.diag([2.0, 2, 2, 1]), dtype=np.uint8)
    labels = np.zeros((12, 12, 12), np.int32)
    labels[2:6, 2:10, 2:10], labels[6:10, 2:10, 2:10] = 1001, 2001
    fine = np.eye(4)
    fine[:3, 3] = -0.5
    save_image(tmp_path / "sub-01_ses-1_mine.nii.gz", labels, fine, dtype=np.int32)
    return tmp_path


def run(folder, atlas="sub-01_ses-1_mine.nii.gz"):
    map_native_atlas_files(folder / atlas, folder / "mask.nii.gz", labels=folder / "out.nii.gz")
    return load_image(folder / "out.nii.gz", dtype=np.int32).data


def test_labels_keep_their_place_and_number(files):
    out = run(files)
    assert np.unique(out[1:3, 1:5, 1:5]).tolist() == [1001]
    assert np.unique(out[3:5, 1:5, 1:5]).tolist() == [2001]
    assert not out[0].any()
    assert json.loads((files / "out.json").read_text())["Labels"] == {"1001": "1001", "2001": "2001"}


def test_names_come_from_the_table_where_there_is_one(files):
    (files / "sub-01_ses-1_mine.tsv").write_text("index\tname\n1001\tleft cortex\n")
    run(files)
    assert json.loads((files / "out.json").read_text())["Labels"] == {"1001": "left cortex", "2001": "2001"}
    (files / "sub-01_ses-1_mine.tsv").write_text("number\n1001\n")
    with pytest.raises(DataError, match="lacks columns"):
        run(files)


def test_an_atlas_of_another_place_or_kind_is_refused(files):
    labels = load_image(files / "sub-01_ses-1_mine.nii.gz")
    away = labels.affine.copy()
    away[0, 3] += 7
    save_image(files / "away.nii.gz", labels.data, away)
    with pytest.raises(DataError, match=r"does not lie on the T1w image.*%"):
        run(files, "away.nii.gz")
    save_image(files / "half.nii.gz", labels.data * 0.5 + 0.2, labels.affine)
    with pytest.raises(DataError, match="not an image of labels"):
        run(files, "half.nii.gz")


def test_sessions_have_the_atlases_whose_file_exists(files):
    templates = {"mine": f"{files}/sub-{{subject}}_ses-{{session}}_mine.nii.gz", "other": f"{files}/{{subject}}.nii"}
    assert native_atlas_path(templates["mine"], "01", "1") == files / "sub-01_ses-1_mine.nii.gz"
    assert session_atlases(templates, "01", "1") == ("mine",)
    assert session_atlases(templates, "02", "1") == ()
    (problem,) = missing_native_atlases(templates, [("01", "1")])
    assert "sub-01 ses-1: the atlas other has no file" in problem


def test_missing_files_are_told_by_the_check(monkeypatch, files):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    asked = config.check_config(
        {"input": {"kind": "phantom"}, "anat": {"native_atlases": {"mine": f"{files}/{{subject}}_mine.nii.gz"}}}
    )
    with pytest.raises(SettingError, match="sub-07 ses-01: the atlas mine has no file"):
        doctor.check(asked, [{"subject": "07", "session": "01"}])


def test_a_path_without_the_subject_is_refused():
    with pytest.raises(SettingError, match="native_atlases"):
        config.check_block("anat", {"native_atlases": {"mine": "/data/one.nii.gz"}})
