"""Tables: what is wrong is said with line, column and allowed values."""

import pytest

from scan2map import tables
from scan2map.errors import SettingError


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="table.tsv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return to_file


def test_rows_are_typed_and_defaults_filled(write):
    path = write("subject\tsession\tdicom\n01\tA\t/data/1\n\n02\tB\tn/a\n")
    assert tables.read_participants(path) == [
        {"subject": "01", "session": "A", "dicom": "/data/1"},
        {"subject": "02", "session": "B", "dicom": None},
    ]


BROKEN = {
    "subject\tsession\tdicmo\n01\t01\tx\n": "unknown column 'dicmo'",
    "subject\tdicom\n01\tx\n": "'session' is missing",
    "subject\tsession\n01\t01\n0 2\t01\n": "Line 3, column 'subject'",
    "subject\tsession\n01\t\n": "Line 2, column 'session' is empty",
    "subject\tsession\n01 01\n": "Line 2 does not fit",
    "subject\tsession\n01\t01\tx\n": "Line 2 does not fit",
    "subject\tsession\n": "empty",
    "subject\tsession\n01\t01\n01\t01\n": "listed twice",
}


@pytest.mark.parametrize("text", BROKEN)
def test_each_mistake_is_named(write, text):
    with pytest.raises(SettingError, match=BROKEN[text]) as caught:
        tables.read_participants(write(text))
    assert "table.tsv" in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(SettingError, match="missing"):
        tables.read_participants(tmp_path / "nobody.tsv")


KNOWN = [("01", "A"), ("01", "B"), ("02", "A")]


def test_exclusions_spread_over_sessions(write):
    path = write("subject\tsession\tmodality\treason\n01\tn/a\tdwi\tmoved\n02\tA\tall\twithdrew\n")
    assert tables.read_exclusions(path, KNOWN) == {
        ("01", "A", "dwi"): "moved",
        ("01", "B", "dwi"): "moved",
        ("02", "A", "all"): "withdrew",
    }
    assert tables.read_exclusions(None, KNOWN) == {}


def test_exclusions_say_who_decided_and_when(write):
    path = write("subject\tsession\tmodality\treason\twho\tdate\n02\tA\tall\twithdrew.\tJM\t2026-03-01\n")
    assert tables.read_exclusions(path, KNOWN) == {("02", "A", "all"): "withdrew (decided by JM on 2026-03-01)"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("03\tA\tdwi\tx", "subject 03"),
        ("02\tB\tdwi\tx", "session B"),
        ("01\tA\tdti\tx", "column 'modality'"),
        ("01\tA\tdwi\t", "'reason'"),
    ],
)
def test_exclusions_of_nobody_are_refused(write, row, message):
    with pytest.raises(SettingError, match=message):
        tables.read_exclusions(write(f"subject\tsession\tmodality\treason\n{row}\n"), KNOWN)


def test_dicom_folders_may_name_an_environment_variable(monkeypatch):
    row = {"subject": "01", "session": "01", "dicom": "$SCANS_OF_TEST/In"}
    with pytest.raises(SettingError, match="SCANS_OF_TEST"):
        tables.dicom_folder(row)
    monkeypatch.setenv("SCANS_OF_TEST", "/scans")
    assert str(tables.dicom_folder(row)) == "/scans/In"
    with pytest.raises(SettingError, match="empty"):
        tables.dicom_folder({**row, "dicom": None})


def test_written_tables_are_read_back_line_by_line(tmp_path):
    path = tmp_path / "out.tsv"
    tables.write_table(path, [{"a": 1, "b": "two\nlines\tand a tab"}, {"a": None, "b": ""}], ("a", "b"))
    assert path.read_text() == "a\tb\n1\ttwo lines and a tab\nn/a\tn/a\n"
    assert not list(tmp_path.glob(".partial-*"))
