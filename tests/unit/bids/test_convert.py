"""A whole session through BIDScoin: what is used, what is not and why, and what the files then say."""

import json
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import tiny_session

UNUSED = {
    "localizer": "a localizer",
    "weird_new_sequence": "not in the study map",
    "dwi_dir-AP_FA": "derived by the scanner (DIFFUSION FA)",
}
USED = [one for one in tiny_session.core_series() + tiny_session.further_series() if one.description not in UNUSED]


def one(record, description):
    return next(series for series in record["series"] if series["description"] == description)


def image_of(tiny, description):
    (path,) = one(tiny.record, description)["files"]
    return tiny.bids / path


def sidecar(tiny, description):
    path = image_of(tiny, description)
    return json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())


def test_every_series_is_accounted_for(tiny):
    assert [series["description"] for series in tiny.record["series"]] == [
        series.description for series in sorted(tiny.series, key=lambda series: series.number)
    ]
    assert tiny.record["status"] == "converted"


def test_series_outside_the_study_are_listed_with_the_reason(tiny):
    unused = {series["description"]: series["reason"] for series in tiny.record["series"] if not series["used"]}
    assert set(unused) == set(UNUSED)
    assert all(reason.startswith(UNUSED[description]) for description, reason in unused.items())
    assert not any(series["broken"] for series in tiny.record["series"])


def canonical(data, affine):
    """The image along the world axes nearest to its own: how a converter turns the axes does not matter then."""
    return nib.as_closest_canonical(nib.Nifti1Image(np.asarray(data, np.float64), affine))


@pytest.mark.parametrize("series", USED, ids=lambda series: series.description)
def test_values_and_places_survive(tiny, series):
    """Stored values are rounded to whole numbers (phase: 2 pi / 4096 rad); places hold to a micrometre."""
    image = nib.load(image_of(tiny, series.description))
    found, meant = canonical(image.get_fdata(), image.affine), canonical(series.data, series.affine)
    np.testing.assert_allclose(found.affine, meant.affine, atol=1e-3)
    scale, step = (np.pi / 4096, np.pi / 4096) if series.kind == "phase" else (1, 0.5)
    np.testing.assert_allclose(scale * found.get_fdata(), meant.get_fdata(), atol=1.01 * step)


def test_gradients_survive(tiny):
    series = next(series for series in tiny.series if series.description == "dwi_dir-AP")
    path = image_of(tiny, "dwi_dir-AP")
    stem = str(path).removesuffix(".nii.gz")
    assert list(np.loadtxt(f"{stem}.bval")) == list(series.b_values_s_per_mm2)
    axes = nib.load(path).affine[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    fsl = np.loadtxt(f"{stem}.bvec")
    fsl[0] *= -1 if np.linalg.det(axes) > 0 else 1  # FSL's convention: the first axis counts from the right
    np.testing.assert_allclose((axes @ fsl).T, series.b_vectors, atol=1e-4)


def test_masks_are_not_raw_data(tiny):
    (path,) = one(tiny.record, "lesion_mask")["files"]
    assert path.startswith("derivatives/expert/sub-01/ses-01/")
    assert not list((tiny.bids / "sub-01").rglob("*mask*"))


def test_asl_context_and_delays_follow_the_scanner(tiny):
    for description in ("pcasl_singlepld", "pcasl_multipld", "vsasl_multipld"):
        timing = next(series.asl for series in tiny.series if series.description == description)
        path = image_of(tiny, description)
        context = path.with_name(path.name.replace("_asl.nii.gz", "_aslcontext.tsv")).read_text().split()
        assert context == ["volume_type", *timing.context]
        delays = sidecar(tiny, description)["PostLabelingDelay"]
        expected = list(timing.post_label_delays_s)
        assert delays == (expected[0] if len(set(expected)) == 1 else expected)
        assert sidecar(tiny, description)["LabelingDuration"] == pytest.approx(timing.label_duration_s)


def test_metadata_that_bidscoin_drops_is_back(tiny):
    asl = sidecar(tiny, "pcasl_singlepld")
    assert asl["VascularCrushing"] is False
    assert asl["RepetitionTimePreparation"] == pytest.approx(4.8)
    assert (asl["M0Type"], asl["TotalAcquiredPairs"]) == ("Separate", 3)
    assert not [key for key in asl if key.startswith("_")]


def test_the_m0_names_the_series_it_calibrates(tiny):
    intended = sidecar(tiny, "asl_m0scan")["IntendedFor"]
    assert len(intended) == 3
    assert all((tiny.bids / uri.removeprefix("bids::")).is_file() for uri in intended)


def test_opposed_series_share_one_field_identifier(tiny):
    forward, reverse = sidecar(tiny, "dwi_dir-AP"), sidecar(tiny, "dwi_b0_dir-PA")
    assert forward["B0FieldSource"] == reverse["B0FieldIdentifier"] == "pepolar01"
    assert (forward["PhaseEncodingDirection"], reverse["PhaseEncodingDirection"]) == ("j-", "j")
    assert not {"bval", "bvec"} & set(reverse)


def test_age_and_sex_are_kept(tiny):
    assert (tiny.record["age_years"], tiny.record["sex"]) == (56, "F")


def test_nothing_temporary_is_left(tiny):
    assert not (tiny.out / "ingest" / ".scratch").exists()
    assert not list(tiny.out.rglob(".partial-*"))
    assert not list(tiny.bids.rglob("*_scans.tsv"))


def test_two_sessions_at_once_do_not_disturb_each_other(tmp_path, convert):
    dicom = tiny_session.write(tmp_path / "dicom", tiny_session.core_series())
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(convert, dicom, tmp_path, "07", session) for session in ("01", "02")]
        records = [job.result() for job in jobs]
    assert [record["status"] for record in records] == ["converted", "converted"]
    for session in ("01", "02"):
        assert len(list((tmp_path / "bids" / "sub-07" / f"ses-{session}").rglob("*.nii.gz"))) == 5


def test_a_second_conversion_replaces_the_first_with_the_same_bytes(tiny, tmp_path, convert):
    stale = tmp_path / "bids" / "sub-01" / "ses-01" / "anat" / "sub-01_ses-01_run-9_T1w.nii.gz"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"left by an earlier conversion")
    assert convert(tiny.dicom, tmp_path) == tiny.record
    bids = tmp_path / "bids"
    names = sorted(path.relative_to(tiny.bids) for path in tiny.bids.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(bids) for path in bids.rglob("*") if path.is_file())
    assert all((tiny.bids / name).read_bytes() == (bids / name).read_bytes() for name in names)
