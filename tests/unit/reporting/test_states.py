"""What ran, what did not, and why."""

import json

from report_study import inventory_row

from scan2map.reporting.states import notice, read_notes, read_rows, session_states, sessions_of

NOTE = {
    "subject": "01",
    "session": "1",
    "modality": "dwi",
    "rule": "fit_tensor",
    "reason": "MD is constant",
    "note": "n",
}


def test_states_come_from_the_inventory_of_that_session():
    rows = [inventory_row("anat"), inventory_row("dwi", "incomplete", "no PA"), inventory_row("dwi", subject="02")]
    states = session_states(rows, [], "01", "1")
    assert {name: state.status for name, state in states.items()} == {"anat": "runs", "dwi": "incomplete"}


def test_a_failed_step_overrules_and_says_how_to_go_on():
    states = session_states([inventory_row("dwi")], [NOTE], "01", "1")
    assert states["dwi"].status == "failed"
    assert "MD is constant" in notice(states["dwi"])
    assert "fit_tensor" in notice(states["dwi"])
    assert "delete n and run again" in notice(states["dwi"])


def test_notes_of_others_change_nothing():
    rows = [inventory_row("dwi"), inventory_row("dwi", subject="02")]
    assert session_states(rows, [NOTE], "02", "1")["dwi"].status == "runs"
    assert session_states(rows, [NOTE | {"modality": "other"}], "01", "1")["dwi"].status == "runs"


def test_a_notice_is_a_sentence_without_doubled_stops():
    states = session_states([inventory_row("asl", "excluded", "moved a lot.", "")], [], "01", "1")
    assert notice(states["asl"]) == "Perfusion is excluded: moved a lot."


def test_rows_are_texts_of_one_session(tmp_path):
    table = tmp_path / "inventory.tsv"
    table.write_text("subject\tsession\treason\n01\t1\tn/a\n02\t1\tbad\n")
    assert read_rows(table, "01", "1") == [{"subject": "01", "session": "1", "reason": ""}]
    assert sessions_of(read_rows(table)) == [("01", "1"), ("02", "1")]


def test_notes_know_their_file(tmp_path):
    path = tmp_path / "x.failed.json"
    path.write_text(json.dumps({"reason": "r"}))
    assert read_notes([path]) == [{"reason": "r", "note": str(path)}]
