"""What the workflow knows before any job runs."""

from types import SimpleNamespace

import pytest

from scan2map.bids.intake import Intake
from scan2map.config import check_block
from scan2map.errors import SettingError

ROWS = [
    {"subject": "01", "session": "A", "dicom": "/no/such/folder"},
    {"subject": "02", "session": "A", "dicom": None},
]


def intake(rows=ROWS, **settings):
    return Intake(check_block("input", settings), rows)


def wildcards(subject, session="A"):
    return SimpleNamespace(subject=subject, session=session)


def test_dicom_folders_come_from_the_table(tmp_path):
    rows = [{"subject": "01", "session": "A", "dicom": str(tmp_path)}, ROWS[0] | {"subject": "02"}]
    found = intake(rows, kind="dicom")
    assert found.converted() == [("01", "A"), ("02", "A")]
    assert found.existing_folder(wildcards("01")) == [str(tmp_path)]
    assert found.existing_folder(wildcards("02")) == []
    assert str(found.folder(wildcards("02"))) == "/no/such/folder"


def test_a_phantom_needs_no_folders():
    assert intake(kind="phantom").converted() == [("01", "A"), ("02", "A")]
    with pytest.raises(SettingError, match="subject 02"):
        intake(kind="dicom")


def test_sessions_excluded_as_a_whole_are_not_converted(tmp_path):
    table = tmp_path / "exclusions.tsv"
    table.write_text("subject\tsession\tmodality\treason\n01\tA\tall\tno\n02\tA\tdwi\tno\n")
    assert intake(kind="phantom", exclusions=str(table)).converted() == [("02", "A")]


def test_an_existing_data_set_is_not_converted():
    found = intake(kind="bids", bids_dir="/data/bids")
    assert found.converted() == []
    assert found.tables() == ["/data/bids/dataset_description.json"]
    with pytest.raises(SettingError, match="bids_dir"):
        intake(kind="bids")


def test_an_empty_table_means_everybody_of_a_bids_data_set(tmp_path):
    for folder in ("sub-02/ses-b/anat", "sub-02/ses-a/anat", "sub-01/anat"):
        (tmp_path / folder).mkdir(parents=True)
    everybody = Intake(check_block("input", {"kind": "bids", "bids_dir": str(tmp_path)}), [])
    assert everybody.pairs == [("01", "01"), ("02", "a"), ("02", "b")]
    one = Intake(check_block("input", {"kind": "bids", "bids_dir": str(tmp_path)}), [{"subject": "02", "session": "a"}])
    assert one.pairs == [("02", "a")]
