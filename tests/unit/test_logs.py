"""A rule's log tells what went wrong, and a data problem leaves a note that the next run reads."""

import json
from types import SimpleNamespace

import pytest

from scan2map import status
from scan2map.errors import DataError, SettingError
from scan2map.logs import LOGGER, collected_warnings, rule_log


class Wildcards(dict):
    __getattr__ = dict.get


def job(tmp_path, output="results/sub-01/ses-02/perf/x.nii.gz"):
    return SimpleNamespace(
        log=[str(tmp_path / "logs" / "quantify_cbf" / "sub-01_ses-02.log")],
        wildcards=Wildcards(subject="01", session="02"),
        rule="quantify_cbf",
        output=[output],
    )


def test_data_error_ends_with_one_line_and_a_note(tmp_path, capsys):
    smk = job(tmp_path)
    with pytest.raises(SystemExit), rule_log(smk):
        raise DataError("M0 is empty", file="m0.nii.gz", remedy="scan again")
    (note,) = status.failure_notes(tmp_path / "logs")
    assert (note["subject"], note["session"], note["modality"], note["rule"]) == ("01", "02", "asl", "quantify_cbf")
    assert "M0 is empty" in note["reason"]
    log = (tmp_path / "logs/quantify_cbf/sub-01_ses-02.log").read_text()
    assert "Traceback" in log
    assert "Traceback" not in capsys.readouterr().err


def test_setting_error_leaves_no_note(tmp_path):
    with pytest.raises(SystemExit), rule_log(job(tmp_path)):
        raise SettingError("wrong key")
    assert status.failure_notes(tmp_path / "logs") == []


def test_programming_error_keeps_its_type_and_is_logged(tmp_path):
    smk = job(tmp_path)
    with pytest.raises(ZeroDivisionError), rule_log(smk):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in (tmp_path / "logs/quantify_cbf/sub-01_ses-02.log").read_text()


def test_success_removes_an_old_note_and_its_handlers(tmp_path):
    smk = job(tmp_path)
    with pytest.raises(SystemExit), rule_log(smk):
        raise DataError("first try")
    with rule_log(smk) as logger:
        logger.info("second try")
    assert status.failure_notes(tmp_path / "logs") == []
    assert logger.handlers == []


def test_failed_sessions_no_longer_run(tmp_path):
    inventory = tmp_path / "inventory.tsv"
    rows = ["subject\tsession\tmodality\tstatus", "01\t02\tasl\truns", "01\t02\tdwi\truns", "03\t01\tasl\tincomplete"]
    inventory.write_text("\n".join(rows) + "\n")
    assert status.runnable(inventory, "asl", tmp_path / "logs") == [("01", "02")]
    with pytest.raises(SystemExit), rule_log(job(tmp_path)):
        raise DataError("M0 is empty")
    assert status.runnable(inventory, "asl", tmp_path / "logs") == []
    assert status.runnable(inventory, "dwi", tmp_path / "logs") == [("01", "02")]
    summary = status.failure_summary(tmp_path / "logs")
    assert "sub-01 ses-02 asl: M0 is empty" in summary
    assert json.loads((tmp_path / "logs/quantify_cbf/sub-01_ses-02.failed.json").read_text())["reason"] in summary


def test_a_failed_anatomy_takes_the_whole_session_out(tmp_path):
    inventory = tmp_path / "inventory.tsv"
    inventory.write_text("subject\tsession\tmodality\tstatus\n01\t02\tanat\truns\n01\t02\tdwi\truns\n")
    with pytest.raises(SystemExit), rule_log(job(tmp_path, "results/sub-01/ses-02/anat/x.nii.gz")):
        raise DataError("no brain")
    assert status.runnable(inventory, "dwi", tmp_path / "logs") == []


def test_warnings_are_kept_once_each_and_reach_the_log(tmp_path):
    smk = job(tmp_path)
    with rule_log(smk), collected_warnings() as found:
        for _ in range(2):
            LOGGER.warning("a single shell does not determine %s", "K")
        LOGGER.info("training starts")
    LOGGER.warning("later")
    assert found == ["a single shell does not determine K"]
    assert (tmp_path / "logs/quantify_cbf/sub-01_ses-02.log").read_text().count("single shell") == 2
