"""External programs: found without activating an environment, failures told in one line."""

import pytest

from scan2map.errors import ToolError
from scan2map.tools import bidscoin, commands, dcm2niix


def test_tools_of_the_running_environment_are_found(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert commands.find_program("dcm2niix", "dcm2niix").endswith("dcm2niix")
    assert dcm2niix.version.__wrapped__().startswith("v1.0.")


def test_a_missing_program_names_its_package():
    with pytest.raises(ToolError, match="some-package"):
        commands.find_program("no-such-program", "some-package")


def test_output_is_kept_and_failure_is_told():
    assert commands.run_program(["sh", "-c", "echo out; echo err >&2"]) == "out\nerr\n"
    with pytest.raises(ToolError, match="exit code 3: last words"):
        commands.run_program(["sh", "-c", "echo last words >&2; exit 3"])
    assert commands.run_program(["sh", "-c", "exit 3"], allowed=(0, 3)) == ""
    with pytest.raises(ToolError, match="cannot be started"):
        commands.run_program(["/no/such/program"])


def test_nothing_is_reported_home():
    said = commands.run_program(["sh", "-c", "echo $BIDSCOIN_TRACKUSAGE $DUECREDIT_ENABLE $NO_ET"])
    assert said.split() == ["no", "no", "1"]


def test_a_missing_subject_is_no_crash_but_gives_nothing(tmp_path, root):
    """BIDScoin ends with 0 here: the caller has to count."""
    (tmp_path / "raw").mkdir()
    said = bidscoin.convert(
        tmp_path / "raw",
        tmp_path / "bids",
        subject="01",
        study_map=root / "config/bidsmap.yaml",
        settings=tmp_path / "s",
    )
    assert any("does not exist" in line for line in said)
    assert not list((tmp_path / "bids").rglob("*.nii*"))


def test_two_runs_into_one_folder_are_refused(tmp_path, root):
    (tmp_path / "bids").mkdir()
    with pytest.raises(FileExistsError):
        bidscoin.convert(
            tmp_path, tmp_path / "bids", subject="01", study_map=root / "config/bidsmap.yaml", settings=tmp_path / "s"
        )
