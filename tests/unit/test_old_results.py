import json

from scan2map import old_results, versions


def sidecar(root, subject, step, version):
    path = root / f"sub-{subject}" / "ses-01" / "dwi" / f"sub-{subject}_{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"GeneratedBy": {"Step": step, "StepVersion": version}}))


def test_mixed_versions_are_named_with_step_and_subject(tmp_path, monkeypatch):
    monkeypatch.setitem(versions.STEP_VERSIONS, "fit_tensor", 2)
    sidecar(tmp_path, "01", "fit_tensor", 1)
    sidecar(tmp_path, "02", "fit_tensor", 2)
    sidecar(tmp_path, "02", "mask_dwi", 1)
    (line,) = old_results.old_results([tmp_path])
    assert line == ("fit_tensor is at version 2; its results are of version 1: sub-01 ses-01; version 2: sub-02 ses-01")


def test_results_of_today_and_foreign_sidecars_are_not_complained_about(tmp_path):
    sidecar(tmp_path, "01", "mask_dwi", 1)
    (tmp_path / "sub-01/ses-01/dwi/foreign.json").write_text("{}")
    assert old_results.old_results([tmp_path]) == []
    assert "today's versions" in old_results.report_old_results([tmp_path])
