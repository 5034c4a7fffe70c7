"""Bad input: each defect gives one plain line, and the other sessions still run."""

import csv
import shutil

import numpy as np
import pytest
import tiny_session

from scan2map.bids.convert import Conversion, convert_session
from scan2map.bids.intake import Intake
from scan2map.bids.inventory import InventoryPaths, build_inventory
from scan2map.config import check_block, check_config
from scan2map.errors import SettingError


def good(folder):
    tiny_session.write(folder, tiny_session.core_series())


def empty(folder):
    folder.mkdir()


def not_dicom(folder):
    folder.mkdir()
    (folder / "scan.dcm").write_bytes(b"no DICOM in here" * 100)


def truncated_and_missing_slice(folder):
    good(folder)
    damaged = folder / "010-dwi_dir-AP" / "00020.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    (folder / "030-pcasl_singlepld" / "00009.dcm").unlink()


def no_reversed_encoding_and_no_m0(folder):
    good(folder)
    shutil.rmtree(folder / "011-dwi_b0_dir-PA")
    shutil.rmtree(folder / "033-asl_m0scan")


def b_values_in_other_units(folder):
    wrong = tiny_session.diffusion(10, "dwi_dir-AP", "j-", b_values=np.where(tiny_session.B_VALUES > 0, 1, 0))
    tiny_session.write(folder, [tiny_session.structural(2, "t1w_mprage"), wrong])


def two_patients(folder):
    tiny_session.write(folder, [tiny_session.structural(2, "t1w_mprage")])
    other = tiny_session.Patient("HOSP-000001", "Mustermann^Max")
    tiny_session.write(folder / "other", [tiny_session.structural(3, "t1w_mprage")], other)


def nothing(folder):
    """The folder of the table does not exist."""


SESSIONS = {
    "good": good,
    "empty": empty,
    "notdicom": not_dicom,
    "damaged": truncated_and_missing_slice,
    "short": no_reversed_encoding_and_no_m0,
    "wrongbval": b_values_in_other_units,
    "twopatients": two_patients,
    "nofolder": nothing,
}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory, root):
    """The inventory of a study of which one session is sound: (subject, modality) → row."""
    out = tmp_path_factory.mktemp("study")
    settings = check_block("input", {"bidsmap": str(root / "config" / "bidsmap.yaml")})
    records = []
    for subject, make in SESSIONS.items():
        folder = out / "dicom" / subject
        folder.parent.mkdir(exist_ok=True)
        make(folder)
        records.append(out / "ingest" / f"sub-{subject}_ses-01.json")
        job = Conversion(folder, subject, "01", out / "bids", tuple(settings["remove_metadata"]))
        convert_session(job, settings["bidsmap"], records[-1])
    paths = InventoryPaths(*(out / f"{name}.tsv" for name in ("inventory", "series", "files")), out / "index")
    build_inventory(
        [(subject, "01") for subject in SESSIONS],
        records,
        settings,
        "Bad input",
        out / "bids",
        paths,
        asl=check_block("asl", {}),
    )
    with paths.inventory.open(newline="") as handle:
        return {(row["subject"], row["modality"]): row for row in csv.DictReader(handle, delimiter="\t")}


def check(inventory, subject, modality, status, reason):
    row = inventory[subject, modality]
    assert (row["status"], reason in row["reason"]) == (status, True), row


def test_the_sound_session_runs(inventory):
    assert {inventory["good", modality]["status"] for modality in ("anat", "dwi", "asl")} == {"runs"}


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("empty", "The DICOM folder is empty"),
        ("notdicom", "no DICOM file; found: 1 files, none of them readable"),
        ("twopatients", "scans of several patients"),
        ("nofolder", "The DICOM folder does not exist"),
    ],
)
@pytest.mark.parametrize("modality", ["anat", "dwi", "asl"])
def test_a_session_without_usable_scans_fails_alone(inventory, subject, reason, modality):
    check(inventory, subject, modality, "failed", reason)


def test_a_truncated_file_stops_its_modality_only(inventory):
    check(
        inventory,
        "damaged",
        "dwi",
        "incomplete",
        "series 10 (dwi_dir-AP) was not used: 1 of 48 DICOM files are truncated",
    )
    check(inventory, "damaged", "anat", "runs", "")


def test_a_missing_slice_stops_its_modality_only(inventory):
    check(inventory, "damaged", "asl", "incomplete", "images are missing: 1 of 36 (6 volumes of 6 slices)")


def test_without_reversed_encoding_diffusion_runs_uncorrected(inventory):
    check(inventory, "short", "dwi", "runs", "no reversed phase encoding: no susceptibility correction")


def test_without_m0_perfusion_is_not_quantified(inventory):
    check(inventory, "short", "asl", "incomplete", "has no M0 image")


def test_a_wrong_b_table_is_seen_before_any_fit(inventory):
    check(inventory, "wrongbval", "dwi", "incomplete", "no volume is diffusion-weighted")
    check(inventory, "wrongbval", "anat", "runs", "")


def test_reasons_name_neither_files_nor_patients(inventory):
    told = " ".join(row["reason"] for row in inventory.values()).lower()
    assert not [word for word in (".dcm", "hosp-", "muster", "/dicom/") if word in told]


def test_a_typing_error_in_the_configuration_stops_everything_first():
    with pytest.raises(SettingError, match="did you mean 'participants'"):
        check_config({"input": {"participant": "who.tsv"}})


def test_an_unknown_subject_in_a_table_stops_everything_first(tmp_path):
    table = tmp_path / "exclusions.tsv"
    table.write_text("subject\tsession\tmodality\treason\nnobody\t01\tdwi\tmoved\n")
    rows = [{"subject": "good", "session": "01", "dicom": None}]
    with pytest.raises(SettingError, match=r"found: subject nobody, session 01; allowed: good/01"):
        Intake(check_block("input", {"kind": "phantom", "exclusions": str(table)}), rows)
