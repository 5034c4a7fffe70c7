"""A whole simulated session: its series, its reproducibility, its switches, its truth on disk."""

import csv
import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
from nested_balls import OFF, build_ball, merged

from scan2map.config import check_block
from scan2map.phantom.session import simulate_session
from scan2map.phantom.truth import write_truth
from scan2map.phantom.truth_names import parameters_path, truth_paths

DISTURBED = {
    "noise": {"enabled": True}, "motion": {"enabled": True}, "susceptibility": {"enabled": True},
    "eddy": {"enabled": True}, "dropout": {"slice_probability": 0.1}, "receive_field_strength": 0.3,
}  # fmt: skip
DESCRIPTIONS = [
    "localizer", "mp2rage_INV1", "mp2rage_INV1_PHASE", "mp2rage_INV2", "mp2rage_INV2_PHASE", "mp2rage_UNI",
    "t1w_mprage", "dwi_dir-AP", "dwi_b0_dir-PA", "bssfp_pc12", "bssfp_pc12_PHASE", "pcasl_multipld", "vsasl_multipld",
    "pcasl_singlepld", "asl_m0scan", "flair_3d", "adc_map", "lesion_mask", "ct_head",
]  # fmt: skip


def simulate(seed=3, **settings):
    subject = build_ball(lambda position: 0.5 * position[..., 1])
    return simulate_session(subject, np.eye(4), check_block("phantom", merged(OFF, settings)), seed)


@pytest.fixture(scope="module")
def session():
    return simulate(**DISTURBED)


def test_every_series_is_there_in_the_order_of_its_number(session):
    series, _ = session
    assert [one.description for one in series] == DESCRIPTIONS
    numbers = [one.number for one in series]
    assert numbers == sorted(set(numbers))


def test_series_are_fit_for_a_scanner_to_write(session):
    for one in session[0]:
        assert np.isfinite(one.data).all(), one.description
        if one.kind == "magnitude":
            assert one.data.min() >= 0
        if one.kind == "phase":
            assert np.abs(one.data).max() <= np.pi + 1e-6


def test_the_same_seed_gives_the_same_session_and_another_seed_does_not(session):
    again, other = simulate(**DISTURBED)[0], simulate(seed=4, **DISTURBED)[0]
    for first, second in zip(session[0], again, strict=True):
        assert first.data.tobytes() == second.data.tobytes(), first.description
    assert not np.array_equal(session[0][6].data, other[6].data)


def test_leaving_out_a_modality_leaves_the_others_unchanged(session):
    alone, _ = simulate(modalities=["dwi"], **DISTURBED)
    whole = {one.description: one for one in session[0]}
    assert [one.description for one in alone] == ["dwi_dir-AP", "dwi_b0_dir-PA"]
    assert all(one.data.tobytes() == whole[one.description].data.tobytes() for one in alone)


@pytest.mark.parametrize("switch", list(DISTURBED))
def test_each_disturbance_changes_the_diffusion_series_and_is_recorded(switch):
    small = {"shells": [{"b_value_s_per_mm2": 2000, "directions": 6}], "b0_volumes": 1}
    plain, _ = simulate(modalities=["dwi"], dwi=small)
    disturbed, truth = simulate(modalities=["dwi"], dwi=small, **{switch: DISTURBED[switch]})
    assert np.abs(plain[0].data - disturbed[0].data).max() > 1
    recorded = truth.parameters["disturbances"][switch]
    assert (recorded | DISTURBED[switch] if isinstance(recorded, dict) else DISTURBED[switch]) == recorded


def test_written_truth_has_the_promised_names_and_values(session, tmp_path):
    _, truth = session
    write_truth(truth, tmp_path, "01", "02", {"phantom": OFF})
    promised = [*truth_paths(("anat", "dwi", "asl", "bssfp", "ctmr"), "01", "02"), parameters_path("01", "02")]
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    sidecars = {name.removesuffix(".json").removesuffix(".nii.gz").removesuffix(".tsv") + ".json" for name in promised}
    assert written == set(promised) | sidecars
    tensor = next(one for one in truth.images if one.entities == {"model": "DTI", "param": "tensor"})
    image = nib.load(tmp_path / "sub-01/ses-02/dwi/sub-01_ses-02_model-DTI_param-tensor_dwimap.nii.gz")
    assert np.array_equal(image.get_fdata(dtype=np.float32), tensor.data)
    assert image.affine == pytest.approx(tensor.affine)


def test_written_motion_has_a_row_per_diffusion_volume(session, tmp_path):
    series, truth = session
    write_truth(truth, tmp_path, "01", "01", {})
    with open(tmp_path / "sub-01/ses-01/dwi/sub-01_ses-01_desc-motion_timeseries.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    volumes = sum(one.data.shape[3] for one in series if one.b_values_s_per_mm2 is not None)
    assert len(rows) == volumes
    assert float(rows[5]["trans_x"]) == pytest.approx(truth.motion[5]["trans_x"], abs=1e-6)


def test_the_record_names_disturbances_seed_and_lesion(tmp_path):
    subject = dataclasses.replace(build_ball(lesion=True))
    settings = check_block("phantom", merged(OFF, {"modalities": ["ctmr"]}))
    _, truth = simulate_session(subject, np.eye(4), settings, 7)
    write_truth(truth, tmp_path, "01", "01", {"phantom": settings})
    record = json.loads((tmp_path / parameters_path("01", "01")).read_text())
    assert record["seed"] == 7
    assert record["disturbances"]["noise"] == {"enabled": False}
    assert record["settings"]["phantom"]["modalities"] == ["ctmr"]
    assert set(record["series"]) == {"flair_3d", "ct_head"}
