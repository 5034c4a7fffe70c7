"""The tables that decide who runs, from converted sessions and from an existing BIDS data set."""

import csv
import json
import shutil

import pytest

from scan2map.bids.inventory import InventoryPaths, build_inventory
from scan2map.config import check_block
from scan2map.errors import SettingError
from scan2map.tools.validator import find_issues


@pytest.fixture
def study(tiny, tmp_path):
    """A copy of the converted session, to break."""
    shutil.copytree(tiny.bids, tmp_path / "bids")
    shutil.copytree(tiny.out / "ingest", tmp_path / "ingest")
    return tmp_path


@pytest.fixture
def build(study, root):
    """Build the inventory of the study for some (subject, session) pairs; returns its three tables."""

    def run(pairs=(("01", "01"),), bids=None, **settings):
        settings = check_block("input", {"bidsmap": str(root / "config" / "bidsmap.yaml"), **settings})
        records = sorted((study / "ingest").glob("*.json")) if settings["kind"] != "bids" else []
        paths = InventoryPaths(*(study / f"{name}.tsv" for name in ("inventory", "series", "files")), study / "index")
        build_inventory(
            list(pairs), records, settings, "Test study", bids or study / "bids", paths, asl=check_block("asl", {})
        )
        return paths

    return run


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def status_of(paths):
    return {(row["subject"], row["session"], row["modality"]): row["status"] for row in rows(paths.inventory)}


def record_failure(study, subject, reason):
    record = {"subject": subject, "session": "01", "software": {}, "status": "failed", "reason": reason}
    record |= {"age_years": None, "sex": None, "series": []}
    (study / "ingest" / f"sub-{subject}_ses-01.json").write_text(json.dumps(record))


def test_a_complete_session_runs_everything(build):
    assert set(status_of(build()).values()) == {"runs"}


def test_every_series_is_listed(build, tiny):
    listed = rows(build().series)
    assert len(listed) == len(tiny.series)
    assert all(row["reason"] != "n/a" for row in listed if row["used"] == "no")
    assert all(row["files"] != "n/a" for row in listed if row["used"] == "yes")


def test_files_play_their_roles_and_exist(build, study):
    listed = rows(build().files)
    assert {row["role"] for row in listed} >= {"t1w", "dwi", "epi", "asl", "asl_multipld", "vsasl", "m0", "lesion_mask"}
    assert all((study / row["path"]).is_file() for row in listed)
    single = [row["path"] for row in listed if row["role"] == "asl"]
    assert len(single) == 1
    assert "singlepld" in single[0]


def test_several_delays_are_the_base_where_no_series_has_one(build, study):
    for path in (study / "bids" / "sub-01" / "ses-01" / "perf").glob("*acq-singlepld*"):
        path.unlink()
    found = build()
    roles = {
        role: [row["path"] for row in rows(found.files) if row["role"] == role] for role in ("asl", "asl_multipld")
    }
    assert len(roles["asl"]) == 1
    assert roles["asl"] == roles["asl_multipld"]
    assert status_of(found)["01", "01", "asl"] == "runs"


def test_the_data_set_has_no_validation_error(build, study):
    build()
    assert not [issue for issue in find_issues(study / "bids") if issue["severity"] == "error"]


def test_group_files_say_who_and_with_what(build, study):
    build()
    assert rows(study / "bids" / "participants.tsv") == [{"participant_id": "sub-01", "age": "56", "sex": "F"}]
    description = json.loads((study / "bids" / "dataset_description.json").read_text())
    assert {made["Name"] for made in description["GeneratedBy"]} == {"scan2map", "bidscoin", "dcm2niix"}


def test_failed_sessions_are_listed_beside_those_that_run(build, study):
    record_failure(study, "02", "The DICOM folder is empty")
    found = build([("01", "01"), ("02", "01")])
    assert status_of(found)["02", "01", "dwi"] == "failed"
    assert status_of(found)["01", "01", "dwi"] == "runs"
    assert {row["reason"] for row in rows(found.inventory) if row["subject"] == "02"} == {"The DICOM folder is empty"}


def test_exclusions_are_listed_with_their_reason(build, study):
    table = study / "exclusions.tsv"
    table.write_text("subject\tsession\tmodality\treason\n01\t01\tasl\tmoved\n")
    found = {row["modality"]: row for row in rows(build(exclusions=str(table)).inventory)}
    assert (found["asl"]["status"], found["asl"]["reason"]) == ("excluded", "moved")
    assert found["dwi"]["status"] == "runs"


def test_a_study_in_which_nobody_runs_is_an_error(build, study):
    record_failure(study, "01", "The DICOM folder is empty")
    shutil.rmtree(study / "bids" / "sub-01")
    with pytest.raises(SettingError, match=r"No session can be processed.*The DICOM folder is empty"):
        build()


def test_an_existing_data_set_is_read_and_left_alone(build, study):
    build()  # makes it a valid data set
    before = {path: path.stat().st_mtime_ns for path in (study / "bids").rglob("*")}
    found = build([("01", "01"), ("09", "01")], kind="bids", bids_dir=str(study / "bids"))
    assert {path: path.stat().st_mtime_ns for path in (study / "bids").rglob("*")} == before
    assert status_of(found)["01", "01", "asl"] == "runs"
    missing = [row for row in rows(found.inventory) if row["subject"] == "09"]
    assert {row["reason"] for row in missing} == {"the session is not in the BIDS data set"}
    assert rows(found.series) == []


def test_a_data_set_without_sessions_takes_the_tables_label(build, study):
    build()
    plain = study / "plain"
    for path in sorted((study / "bids").rglob("*")):
        if path.is_file():
            name = path.relative_to(study / "bids").as_posix().replace("/ses-01", "").replace("_ses-01", "")
            (plain / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, plain / name)
    found = build([("01", "baseline")], bids=plain, kind="bids", bids_dir=str(plain))
    assert status_of(found)["01", "baseline", "dwi"] == "runs"
    assert all("ses-" not in row["path"] for row in rows(found.files))


def test_inherited_metadata_counts(build, study):
    """BIDS lets a sidecar stand higher up; pybids brings it down."""
    build()
    sidecar = next((study / "bids").rglob("*dir-AP_dwi.json"))
    sidecar.rename(study / "bids" / "dir-AP_dwi.json")
    found = build(kind="bids", bids_dir=str(study / "bids"))
    assert status_of(found)["01", "01", "dwi"] == "runs"


def test_a_broken_data_set_is_a_setting_error(build, study):
    build()
    next((study / "bids").rglob("*dir-AP_dwi.json")).write_text("{not json")
    with pytest.raises(SettingError, match="cannot be indexed"):
        build(kind="bids", bids_dir=str(study / "bids"))
    with pytest.raises(SettingError, match="does not exist"):
        build(bids=study / "nowhere", kind="bids", bids_dir=str(study / "nowhere"))
