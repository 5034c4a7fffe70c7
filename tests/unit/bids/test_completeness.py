"""The verdicts: one defect at a time, each named in the reason."""

import json

import nibabel as nib
import numpy as np
import pytest

from scan2map.bids.completeness import NO_CORRECTION, Session, judge
from scan2map.bids.layout import BidsFile
from scan2map.config import check_block

ASL = check_block("asl", {})
VOLUMES = 9
B_VALUES = np.array([0, 1000, 1000, 1000, 1000, 2000, 2000, 2000, 2000])
EPI = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05}
PCASL = {
    "ArterialSpinLabelingType": "PCASL", "PostLabelingDelay": 1.8, "LabelingDuration": 1.8,
    "RepetitionTimePreparation": 4.8, "M0Type": "Separate", "BackgroundSuppression": False, "MRAcquisitionType": "3D",
    "MagneticFieldStrength": 3,
}  # fmt: skip


def vectors():
    found = np.random.default_rng(1).normal(size=(3, VOLUMES))
    found /= np.linalg.norm(found, axis=0)
    return found * (B_VALUES > 0)


class Maker:
    """Writes the images and tables of a session."""

    def __init__(self, folder):
        self.folder = folder

    def image(self, role, name, volumes=1, metadata=None, tables=None):
        path = self.folder / f"sub-01_ses-01_{name}.nii.gz"
        shape = (4, 4, 3, volumes) if volumes > 1 else (4, 4, 3)
        nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), path)
        return BidsFile("01", "01", role, path, metadata or {}, tables or {})

    def t1w(self):
        return self.image("t1w", "T1w")

    def dwi(self, b_values=B_VALUES, b_vectors=None, name="dir-AP_dwi", **metadata):
        tables = {kind: self.folder / f"{name}.{kind}" for kind in ("bval", "bvec")}
        np.savetxt(tables["bval"], np.atleast_2d(b_values), fmt="%g")
        np.savetxt(tables["bvec"], vectors() if b_vectors is None else b_vectors)
        return self.image("dwi", name, VOLUMES, EPI | metadata, tables)

    def epi(self, **metadata):
        return self.image("epi", "dir-PA_epi", 2, EPI | {"PhaseEncodingDirection": "j"} | metadata)

    def asl(self, context=("control", "label") * 3, volumes=6, **metadata):
        (self.folder / "sub-01_ses-01_aslcontext.tsv").write_text("\n".join(["volume_type", *context]) + "\n")
        (self.folder / "sub-01_ses-01_asl.json").write_text(json.dumps(PCASL | metadata))
        return self.image("asl", "asl", volumes)

    def m0(self):
        (self.folder / "sub-01_ses-01_m0scan.json").write_text(json.dumps({"RepetitionTimePreparation": 10}))
        return self.image("m0", "m0scan")


@pytest.fixture
def make(tmp_path):
    return Maker(tmp_path)


def verdict(modality, *files, broken=(), expected=None, exclusions=None, asl=ASL):
    return judge(Session(files, broken, expected or {}, asl), exclusions or {})[modality]


def test_a_complete_session_runs(make):
    files = (make.t1w(), make.dwi(), make.epi(), make.asl(), make.m0())
    verdicts = judge(Session(files, asl=ASL), {})
    assert {name: verdicts[name].status for name in ("anat", "dwi", "asl")} == dict.fromkeys(
        ("anat", "dwi", "asl"), "runs"
    )
    assert not verdicts["dwi"].reason
    assert {verdicts["bssfp"].status, verdicts["ctmr"].status} == {"incomplete"}


def test_diffusion_without_opposed_encoding_runs_with_a_note(make):
    found = verdict("dwi", make.t1w(), make.dwi())
    assert (found.status, found.reason) == ("runs", NO_CORRECTION)


def test_two_full_series_of_opposed_encoding_need_no_fmap(make):
    files = make.t1w(), make.dwi(), make.dwi(name="dir-PA_dwi", PhaseEncodingDirection="j")
    assert verdict("dwi", *files).reason == ""


def test_without_the_t1w_image_nothing_is_aligned(make):
    found = verdict("dwi", make.dwi(), make.epi())
    assert (found.status, found.reason) == ("incomplete", "needs the T1w image: no T1w image")


def with_value(array, index, value):
    array = np.array(array, float)
    array[index] = value
    return array


DEFECTS = {
    "no volume is diffusion-weighted": {"b_values": np.zeros(VOLUMES)},
    "no volume without diffusion weighting": {"b_values": np.full(VOLUMES, 1000)},
    "not all finite": {"b_values": with_value(B_VALUES, 3, -1000)},
    "8 b-values and 9 b-vectors": {"b_values": B_VALUES[:-1]},
    "9 b-values and 8 b-vectors": {"b_vectors": vectors()[:, :-1]},
    "9 b-vectors of 2 elements": {"b_vectors": vectors()[:2]},
    "1 b-vectors of weighted volumes are not unit": {"b_vectors": with_value(vectors(), (slice(None), 4), [0.5, 0, 0])},
    "only 1 different": {"b_vectors": np.array([[1.0], [0], [0]]) * (B_VALUES > 0)},
    "TotalReadoutTime is not plausible (found: 0": {"TotalReadoutTime": 0},
    "TotalReadoutTime is not plausible (found: -0.05": {"TotalReadoutTime": -0.05},
    "TotalReadoutTime is not plausible (found: 50": {"TotalReadoutTime": 50},
    "TotalReadoutTime is not plausible (found: None": {"TotalReadoutTime": None},
    "no PhaseEncodingDirection": {"PhaseEncodingDirection": None},
}


@pytest.mark.parametrize("reason", DEFECTS)
def test_each_defect_of_a_diffusion_series_is_named(make, reason):
    found = verdict("dwi", make.t1w(), make.dwi(**DEFECTS[reason]), make.epi())
    assert found.status == "incomplete"
    assert reason in found.reason
    assert found.remedy


def test_a_missing_or_garbled_b_table(make):
    dwi = make.dwi()
    dwi.tables["bval"].write_text("zero one two")
    assert "bval file is missing" in verdict("dwi", make.t1w(), dwi).reason
    dwi.tables.pop("bvec")
    dwi.tables["bval"].write_text(" ".join(map(str, B_VALUES)))
    assert "bvec file is missing" in verdict("dwi", make.t1w(), dwi).reason


@pytest.mark.parametrize(
    ("shells", "reason"),
    [
        ([0, 1000, 2000], ""),
        ([0, 1000], "2000 s/mm² is not one"),
        ([0, 1000, 2000, 3000], "shell b = 3000"),
        ([5, 1040, 1960], ""),
    ],
)
def test_expected_shells(make, shells, reason):
    found = verdict("dwi", make.t1w(), make.dwi(), make.epi(), expected={"dwi": {"b_values_s_per_mm2": shells}})
    assert found.status == ("incomplete" if reason else "runs")
    assert reason in found.reason


@pytest.mark.parametrize(("what", "text"), [("volumes", "9 volumes where the study expects 8"), ("slices", "3 slices")])
def test_expected_counts(make, what, text):
    found = verdict("dwi", make.t1w(), make.dwi(), make.epi(), expected={"dwi": {what: 8}})
    assert text in found.reason


ASL_DEFECTS = {
    "5 rows; allowed: column 'volume_type', 6 rows": {"context": ("control", "label") * 2 + ("control",)},
    "found: ['tag']": {"context": ("control", "tag") * 3},
    "no control and label volumes and no difference images": {"context": ("cbf",) * 6},
    "found: 0; allowed: above 0": {"PostLabelingDelay": 0},
    "found: 1800; allowed: above 0 and at most 10 s": {"PostLabelingDelay": 1800},
    "PostLabelingDelay cannot be used": {"PostLabelingDelay": None},
    "one for each of the 6 volumes": {"PostLabelingDelay": [1.8, 1.8, 1.8]},
    "found: [1.8, 1.8, 1.8, 0, 1.8, 1.8]": {"PostLabelingDelay": [1.8, 1.8, 1.8, 0, 1.8, 1.8]},
    "LabelingDuration cannot be used": {"LabelingDuration": None},
    "ArterialSpinLabelingType cannot be used": {"ArterialSpinLabelingType": None},
    "RepetitionTimePreparation cannot be used": {"RepetitionTimePreparation": -1},
}


@pytest.mark.parametrize("reason", ASL_DEFECTS)
def test_each_defect_of_an_asl_series_is_named(make, reason):
    found = verdict("asl", make.t1w(), make.asl(**ASL_DEFECTS[reason]), make.m0())
    assert found.status == "incomplete"
    assert reason in found.reason


def test_asl_needs_an_m0_somewhere(make):
    assert "has not a separate M0 image" in verdict("asl", make.t1w(), make.asl()).reason
    assert "no M0 image" in verdict("asl", make.t1w(), make.asl(M0Type="Absent")).reason
    included = make.asl(context=("m0scan", *("label", "control") * 3), volumes=7, M0Type="Included")
    assert verdict("asl", make.t1w(), included).status == "runs"
    assert verdict("asl", make.t1w(), make.asl(M0Type="Estimate", M0Estimate=1200.0)).status == "runs"


def test_control_images_stand_for_the_m0_where_the_setting_says_so(make):
    files = make.t1w(), make.asl(M0Type="Absent")
    assert verdict("asl", *files, asl=ASL | {"without_m0": "control"}).status == "runs"


def test_the_reason_names_no_folder(make):
    reason = verdict("asl", make.t1w(), make.asl(PostLabelingDelay=0), make.m0()).reason
    assert str(make.folder) not in reason


def test_several_delays_alone_run_and_are_checked(make):
    delays = [0.5, 0.5, 1.0, 1.0, 2.0, 2.0]
    single = make.asl(PostLabelingDelay=delays)
    several = BidsFile("01", "01", "asl_multipld", single.path, {}, {})
    assert verdict("asl", make.t1w(), several, make.m0()).status == "runs"
    make.asl(PostLabelingDelay=[*delays[:5], 0])
    assert "PostLabelingDelay" in verdict("asl", make.t1w(), several, make.m0()).reason
    make.asl(PostLabelingDelay=delays)
    broken = ({"modality": "asl", "suffix": "asl", "text": "series 9 was not used: images are missing"},)
    assert "images are missing" in verdict("asl", make.t1w(), several, make.m0(), broken=broken).reason
    velocity = BidsFile("01", "01", "vsasl", single.path, {}, {})
    assert verdict("asl", make.t1w(), velocity, make.m0()).status == "incomplete"


def test_difference_images_run(make):
    assert verdict("asl", make.t1w(), make.asl(context=("deltam",) * 6), make.m0()).status == "runs"


def test_asl_without_its_context_is_not_guessed(make):
    asl = make.asl()
    (make.folder / "sub-01_ses-01_aslcontext.tsv").unlink()
    assert "has no aslcontext.tsv" in verdict("asl", make.t1w(), asl, make.m0()).reason


def test_an_unreadable_image_is_named(make):
    t1w = make.t1w()
    t1w.path.write_bytes(t1w.path.read_bytes()[:60])
    found = verdict("anat", t1w)
    assert (found.status, found.reason) == ("incomplete", "sub-01_ses-01_T1w.nii.gz: the image cannot be read")


BROKEN_AP = {"modality": "dwi", "suffix": "dwi", "text": "series 10 is truncated"}
BROKEN_PA = {"modality": "dwi", "suffix": "epi", "text": "series 11 is truncated"}


def test_a_broken_series_is_the_reason(make):
    assert verdict("dwi", make.t1w(), broken=(BROKEN_AP,)).reason == "series 10 is truncated"
    one_of_two = verdict("dwi", make.t1w(), make.dwi(), broken=(BROKEN_AP,))
    assert (one_of_two.status, one_of_two.reason) == ("incomplete", "series 10 is truncated")


def test_a_broken_opposed_series_costs_the_correction_only(make):
    found = verdict("dwi", make.t1w(), make.dwi(), broken=(BROKEN_PA,))
    assert (found.status, found.reason) == ("runs", f"{NO_CORRECTION} (series 11 is truncated)")


def test_exclusions_come_first(make):
    files = (make.t1w(), make.dwi(), make.epi())
    assert verdict("dwi", *files, exclusions={"dwi": "moved"}).reason == "moved"
    both = judge(Session(files), {"all": "withdrew consent"})
    assert {one.status for one in both.values()} == {"excluded"}
    after = verdict("dwi", *files, exclusions={"anat": "metal"})
    assert (after.status, after.reason) == ("excluded", "needs the T1w image: metal")


def test_bssfp_needs_magnitude_and_phase_of_one_shape(make):
    magnitude, phase = make.image("bssfp_mag", "part-mag_bSSFP", 12), make.image("bssfp_phase", "part-phase_bSSFP", 11)
    assert "no bSSFP phase" in verdict("bssfp", make.t1w(), magnitude).reason
    assert "differ in shape" in verdict("bssfp", make.t1w(), magnitude, phase).reason
    assert verdict("bssfp", make.t1w(), magnitude, make.image("bssfp_phase", "part-phase_bSSFP", 12)).status == "runs"


def test_ctmr_needs_ct_and_one_mri(make):
    ct = make.image("ct", "ct")
    assert "no FLAIR or ADC" in verdict("ctmr", make.t1w(), ct).reason
    assert verdict("ctmr", make.t1w(), ct, make.image("flair", "FLAIR")).status == "runs"
