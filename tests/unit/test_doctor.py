"""What a run lacks is listed at once, before its first job."""

import pytest

from scan2map import doctor
from scan2map.config import check_config
from scan2map.errors import SettingError


def configured(**blocks):
    return check_config({"input": {"kind": "phantom"}} | blocks)


def test_missing_programs_are_all_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingError) as caught:
        doctor.require_engines(configured())
    assert all(name in str(caught.value) for name in doctor.INTAKE_PROGRAMS)


def test_jobs_that_bring_their_programs_need_none_here(monkeypatch, tmp_path):
    from snakemake.settings.types import DeploymentMethod

    monkeypatch.setenv("PATH", str(tmp_path))
    deployed = doctor.brings_software({DeploymentMethod.CONDA})
    doctor.require_engines(configured(), deployed=deployed)
    assert not doctor.brings_software({DeploymentMethod.ENV_MODULES})


def test_an_engine_that_is_absent_stops_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    monkeypatch.setenv("FSLDIR", str(tmp_path))
    doctor.require_engines(configured())
    with pytest.raises(SettingError, match="FSL"):
        doctor.require_engines(configured(fieldmap={"engine": "fsl"}))


def test_a_bone_engine_that_is_absent_stops_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    bone = {"engine": "totalsegmentator", "weights": str(tmp_path)}
    with pytest.raises(SettingError, match="weights of TotalSegmentator") as caught:
        doctor.require_engines(configured(ctmr={"bone": bone}))
    assert "TotalSegmentator is not installed" in str(caught.value)


def test_a_model_on_a_device_that_is_absent_stops_a_local_run(monkeypatch):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    half = {"asl_quantnet": {"compute": {"device": "cpu", "precision": "16-mixed"}}}
    config = configured(learning={"systems": ["asl_quantnet"], "overrides": half})
    with pytest.raises(SettingError, match="asl_quantnet: precision 16-mixed needs a GPU"):
        doctor.require_engines(config)
    doctor.require_engines(config, local=False)
    doctor.require_engines(configured(learning={"systems": ["asl_quantnet"]}))


def test_a_check_without_torch_says_that_it_did_not_look(monkeypatch):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert doctor.UNSEEN in doctor.check(configured(study={"device": "cuda"}), [])
    gpu = {"asl_quantnet": {"compute": {"device": "cuda"}}}
    assert doctor.UNSEEN in doctor.check(configured(learning={"systems": ["asl_quantnet"], "overrides": gpu}), [])
    assert doctor.UNSEEN not in doctor.check(configured(), [])


def test_input_folders_that_do_not_exist_are_listed(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    rows = [
        {"subject": "01", "session": "01", "dicom": str(tmp_path)},
        {"subject": "02", "session": "01", "dicom": "/no"},
    ]
    with pytest.raises(SettingError, match="sub-02 ses-01"):
        doctor.check(configured(input={"kind": "dicom"}), rows)
    assert "Ready: 1 sessions" in doctor.check(configured(input={"kind": "dicom"}), rows[:1])
