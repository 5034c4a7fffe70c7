"""A real scanner export (enhanced multi-frame DICOM): what belongs is used, the rest is listed, nobody is named."""

import csv
import gzip
import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from scan2map.bids.inventory import InventoryPaths, build_inventory
from scan2map.config import check_block
from scan2map.tools.validator import find_issues

pytestmark = pytest.mark.real_data
USED = {6: "anat", 10: "dwi", 17: "dwi", 25: "asl"}
REASONS = {
    5: "receive-field normalisation", 7: "functional MRI", 8: "field map", 9: "field map", 11: "derived", 13: "derived",
    24: "derived", 27: "derived", 28: "derived", 99: "not an image (Enhanced SR Storage)",
}  # fmt: skip
PATIENT = (b"xatest", b"july11", b"12343@hucheng", b"hucheng", b"19910101", b"indiana", b"cheng test", b"67093")


@pytest.fixture(scope="module")
def scan(xa30_dir, tmp_path_factory, convert, root):
    out = tmp_path_factory.mktemp("xa30")
    study_map = root / "config" / "xa30" / "bidsmap.yaml"
    record = convert(xa30_dir / "In", out, study_map=study_map)
    paths = InventoryPaths(*(out / f"{name}.tsv" for name in ("inventory", "series", "files")), out / "index")
    settings = check_block("input", {"bidsmap": str(study_map)})
    build_inventory(
        [("01", "01")],
        sorted((out / "ingest").glob("*.json")),
        settings,
        "Real",
        out / "bids",
        paths,
        asl=check_block("asl", {}),
    )
    return SimpleNamespace(out=out, bids=out / "bids", record=record, paths=paths)


def image_of(scan, number):
    (path,) = next(series["files"] for series in scan.record["series"] if series["number"] == number)
    return scan.bids / path


def sidecar_of(scan, number):
    path = image_of(scan, number)
    return json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())


def test_what_belongs_is_used_and_the_rest_has_a_reason(scan):
    series = {one["number"]: one for one in scan.record["series"]}
    assert {number: one["modality"] for number, one in series.items() if one["used"]} == USED
    assert all(one["reason"] for one in series.values() if not one["used"])
    assert all(text in series[number]["reason"] for number, text in REASONS.items())


def test_every_modality_runs(scan):
    with scan.paths.inventory.open(newline="") as handle:
        found = {row["modality"]: (row["status"], row["reason"]) for row in csv.DictReader(handle, delimiter="\t")}
    assert found == dict.fromkeys(("anat", "dwi", "asl"), ("runs", "n/a"))


def test_both_diffusion_series_are_opposed_and_complete(scan):
    for number, direction in ((10, "j"), (17, "j-")):
        sidecar = sidecar_of(scan, number)
        assert sidecar["PhaseEncodingDirection"] == direction
        assert sidecar["TotalReadoutTime"] == pytest.approx(71 * 0.00066999, rel=1e-4)  # (72 lines - 1) x echo spacing
        b_values = np.loadtxt(str(image_of(scan, number)).replace(".nii.gz", ".bval"))
        assert list(b_values) == [0, *[2500] * 20]


def test_the_m0_leads_the_asl_series_and_control_is_brighter_than_label(scan):
    path = image_of(scan, 25)
    types = path.with_name(path.name.replace("_asl.nii.gz", "_aslcontext.tsv")).read_text().split()[1:]
    assert types == ["m0scan", *["label", "control"] * 3]
    volumes = nib.load(path).get_fdata()
    brain = volumes[..., 0] > 200
    means = {kind: volumes[..., [t == kind for t in types]][brain].mean() for kind in set(types)}
    assert means["m0scan"] > means["control"] > means["label"]
    sidecar = sidecar_of(scan, 25)
    assert (sidecar["PostLabelingDelay"], sidecar["LabelingDuration"]) == (1.8, 1.8)
    assert (sidecar["M0Type"], sidecar["BackgroundSuppression"]) == ("Included", False)


def test_nobody_is_named(scan):
    for path in (path for path in scan.out.rglob("*") if path.is_file()):
        content = path.read_bytes()
        content = (gzip.decompress(content) if path.name.endswith(".gz") else content).lower()
        assert not [name for name in PATIENT if name in content], path


def test_the_data_set_is_valid(scan):
    assert not [issue for issue in find_issues(scan.bids) if issue["severity"] == "error"]
