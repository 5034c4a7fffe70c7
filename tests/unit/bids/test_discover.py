import pydicom
import pytest
import tiny_session

from scan2map.bids.discover import discover
from scan2map.errors import SettingError


def scan(folder, person, study):
    """A session of two small series of a person."""
    series = [tiny_session.structural(number, "t1w_mprage") for number in (2, 3)]
    tiny_session.write(folder, series, tiny_session.Patient(person, "Muster^Vor"))
    for path in folder.rglob("*.dcm"):
        header = pydicom.dcmread(path)
        header.StudyInstanceUID, header.StudyDate = f"1.2.3.{study}", f"2026010{study}"
        header.save_as(path)


@pytest.fixture
def exports(tmp_path):
    for number, (name, person) in enumerate([("a", "P1"), ("b", "P2"), ("c", "P1"), ("d", "P3")], start=1):
        scan(tmp_path / name, person, number)
    return tmp_path


def rows(exports, table):
    return discover({"kind": "dicom", "discover_in": str(exports)}, table)


def test_new_people_get_the_next_label_and_known_people_the_next_session(exports):
    table = [{"subject": "07", "session": "01", "dicom": str(exports / "a")}]
    assert rows(exports, table) == [
        {"subject": "08", "session": "01", "dicom": str(exports / "b")},
        {"subject": "07", "session": "02", "dicom": str(exports / "c")},
        {"subject": "09", "session": "01", "dicom": str(exports / "d")},
    ]


def test_nothing_of_the_person_is_proposed(exports):
    assert "P1" not in str(rows(exports, [])).replace(str(exports), "")


def test_a_table_that_knows_everybody_gets_no_rows(exports):
    proposed = rows(exports, [])
    assert [(row["subject"], row["session"]) for row in proposed] == [
        ("01", "01"), ("02", "01"), ("01", "02"), ("03", "01"),
    ]  # fmt: skip
    assert rows(exports, proposed) == []


def test_a_folder_to_look_in_must_be_named(tmp_path):
    with pytest.raises(SettingError, match="discover_in"):
        discover({"kind": "dicom", "discover_in": None}, [])
