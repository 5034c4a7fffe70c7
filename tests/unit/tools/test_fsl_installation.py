"""Finding FSL, choosing its programs, and listing everything that is missing at once."""

from pathlib import Path

import pytest
from fixtures.fsl.install import PROGRAMS, install

from scan2map import config as config_module
from scan2map.errors import ToolError
from scan2map.tools import fsl, fsl_commands, versions


def fsl_settings(**eddy) -> dict:
    settings = config_module.defaults(config_module.load_schema("fsl"))
    settings["eddy"].update(eddy)
    return settings


def fsl_config(**eddy) -> dict:
    return {
        "fieldmap": {"engine": "fsl"},
        "dwi": {"engine": "fsl", "mask": {"method": "bet"}},
        "input": {"kind": "bids"},
        "fsl": fsl_settings(**eddy),
    }


@pytest.fixture
def fsldir(tmp_path, monkeypatch) -> Path:
    folder = install(tmp_path / "fsl")
    monkeypatch.setenv("FSLDIR", str(folder))
    return folder


def test_nothing_is_needed_unless_an_engine_asks(monkeypatch):
    monkeypatch.delenv("FSLDIR", raising=False)
    config = fsl_config() | {"fieldmap": {"engine": "embedded"}, "dwi": {"engine": "embedded"}}
    assert fsl.missing_tools(config) == []
    assert versions.fsl_versions(config) == {}


def test_a_whole_installation_lacks_nothing(fsldir):
    assert fsl.missing_tools(fsl_config()) == []
    assert fsl.missing_tools(fsl_config(quality_report=True)) == []


@pytest.mark.parametrize("value", [None, "", "/nowhere/fsl"])
def test_missing_fsl_is_one_sentence(monkeypatch, value):
    monkeypatch.delenv("FSLDIR", raising=False)
    if value is not None:
        monkeypatch.setenv("FSLDIR", value)
    (problem,) = fsl.missing_tools(fsl_config())
    assert "FSL is not found" in problem
    assert "what to do" in problem


def test_everything_missing_is_listed_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FSLDIR", str(install(tmp_path / "fsl", programs=("topup",), schedules=("b02b0_2.cnf",))))
    listed = "\n".join(fsl.missing_tools(fsl_config(quality_report=True, slice_to_volume_order=6)))
    for name in ("applytopup", "bet", "eddy_quad", "dtifit", "b02b0_1.cnf", "b02b0_4.cnf", "no eddy program"):
        assert name in listed
    assert "slice_to_volume_order needs" in listed
    assert "program topup" not in listed
    assert "b02b0_2.cnf" not in listed


def test_only_the_used_parts_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FSLDIR", str(install(tmp_path / "fsl", programs=("topup", "applytopup"))))
    config = fsl_config() | {"dwi": {"engine": "embedded", "mask": {"method": "deepbet"}}}
    assert fsl.missing_tools(config) == []


def test_missing_python_packages_are_listed(fsldir, monkeypatch):
    monkeypatch.setattr(fsl, "find_spec", lambda name: None)
    problems = fsl.missing_tools(fsl_config())
    assert len(problems) == 2
    assert "nipype" in problems[0]
    assert "fslpy" in problems[1]


EDDY_BUILDS = ("eddy", "eddy_openmp", "eddy_cuda9.1", "eddy_cuda10.2", "eddy_cuda8.0")


@pytest.mark.parametrize(
    ("builds", "settings", "expected"),
    [
        (EDDY_BUILDS, {"device": "cuda"}, "eddy_cuda10.2"),
        (("eddy_cuda",), {"device": "cuda"}, "eddy_cuda"),
        (EDDY_BUILDS, {"device": "cpu"}, "eddy_openmp"),
        (("eddy", "eddy_cpu"), {"device": "cpu"}, "eddy_cpu"),
        (("eddy",), {"device": "cpu"}, "eddy"),
        (EDDY_BUILDS, {"device": "cpu", "program": "eddy"}, "eddy"),
        (EDDY_BUILDS, {"device": "cuda", "program": "eddy_cuda9.1"}, "eddy_cuda9.1"),
    ],
)
def test_choice_of_the_eddy_program(tmp_path, builds, settings, expected):
    found = fsl.Fsl(install(tmp_path / "fsl", programs=builds))
    assert fsl.eddy_program(found, fsl_settings(**settings)["eddy"]) == expected


@pytest.mark.parametrize(
    ("builds", "settings"),
    [
        (("eddy_cpu",), {"device": "cuda"}),
        (("eddy_cuda10.2",), {"device": "cpu"}),
        (("eddy_cpu", "eddy_cuda10.2"), {"device": "cuda", "program": "eddy_cpu"}),
        (("eddy_cpu", "eddy_cuda10.2"), {"device": "cpu", "program": "eddy_cuda10.2"}),
        (("eddy_cpu",), {"device": "cpu", "program": "eddy_openmp"}),
    ],
)
def test_no_other_device_or_program_is_taken_instead(tmp_path, builds, settings):
    found = fsl.Fsl(install(tmp_path / "fsl", programs=builds))
    with pytest.raises(ToolError, match="no eddy program"):
        fsl.eddy_program(found, fsl_settings(**settings)["eddy"])


def test_a_program_that_cannot_be_run_is_missing(fsldir):
    (fsldir / "bin" / "dtifit").chmod(0o644)
    assert fsl.missing_tools(fsl_config()) == ["the FSL program dtifit is not in FSLDIR/bin"]


def test_versions(fsldir):
    found = versions.external_versions(fsl_config())
    assert found["FSL"] == "6.0.7.13"
    assert found["eddy program"] == "eddy_cpu"
    assert set(found) == {"FSL", "nipype", "fslpy", "eddy program"}


def test_version_of_an_installation_without_record(tmp_path):
    assert fsl.Fsl(tmp_path).version == "unknown"


@pytest.mark.parametrize(("version", "expected"), [("6.0.7.13", True), ("6.0.5:9e026117", False)])
def test_thread_option_follows_the_release(tmp_path, monkeypatch, version, expected):
    folder = install(tmp_path / "fsl", version=version)
    monkeypatch.setenv("FSLDIR", str(folder))
    assert fsl_commands.has_option(folder / "bin" / "topup", "--nthr") is expected


def test_the_work_folder_is_removed_or_kept(tmp_path):
    with fsl_commands.work_folder(tmp_path / "out" / "x.nii.gz") as work:
        (work / "file").write_text("")
    assert not work.exists()
    with pytest.raises(ToolError), fsl_commands.work_folder(tmp_path / "out" / "x.nii.gz") as work:
        raise ToolError("FSL failed")
    assert work.is_dir()


def test_stand_in_has_every_program_that_the_engine_runs(tmp_path):
    assert {path.name for path in (install(tmp_path / "fsl") / "bin").iterdir()} == set(PROGRAMS)
