"""Sidecars say where a result comes from."""

import json

import pytest

from scan2map import versions
from scan2map.provenance import sidecar_path, write_sidecar


def test_sidecar_names_step_settings_units_and_software(tmp_path, monkeypatch):
    monkeypatch.setitem(versions.STEP_VERSIONS, "fit_tensor", 7)
    image = tmp_path / "sub-01_dwimap.nii.gz"
    path = write_sidecar(
        image, step="fit_tensor", description="FA.", sources=["a.nii.gz"], settings={"x": 1}, units="1"
    )
    content = json.loads(path.read_text())
    assert path == tmp_path / "sub-01_dwimap.json" == sidecar_path(image)
    assert content["GeneratedBy"]["StepVersion"] == 7
    assert content["Sources"] == ["a.nii.gz"]
    assert content["Settings"] == {"x": 1}
    assert content["SoftwareVersions"]["numpy"]


def test_same_facts_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_sidecar(tmp_path / name / "x.tsv", step="s", description="d")
    assert (tmp_path / "one/x.json").read_bytes() == (tmp_path / "two/x.json").read_bytes()


@pytest.mark.parametrize("name", ["x_cbf.nii.gz", "x_cbf.nii", "x_cbf.tsv", "x_cbf.mat"])
def test_sidecar_replaces_the_extension(name):
    assert sidecar_path(name).name == "x_cbf.json"
