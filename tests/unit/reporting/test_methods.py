"""Methods text from what ran."""

import json

import pytest

from scan2map.config import system_names
from scan2map.errors import SettingError
from scan2map.reporting.lineage import Lineage, Step, lineage_of
from scan2map.reporting.methods import load_methods, methods_text, sentence
from scan2map.reporting.page import REPORT_FOLDER

CITATIONS = {"a": {"text": "A. 2001.", "doi": "10.1/a"}, "b": {"text": "B. 2002.", "doi": "10.1/b"}}


def lineage(**steps):
    made = {name: Step(name, 1, "c", settings=settings) for name, settings in steps.items()}
    return Lineage(made, {"scan2map": "0.1"})


def test_only_steps_that_ran_are_told_in_order_with_numbered_sources():
    sentences = {
        "second": {"part": "A", "text": "Second [@b]."},
        "first": {"part": "A", "text": "First with {mask_size_mm} mm [@a], as before [@b]."},
        "third": {"part": "B", "text": "Never."},
    }
    text = methods_text(lineage(first={"mask": {"size_mm": 2.5}}, second={}), sentences, CITATIONS)
    assert text.paragraphs == {"A": "Second [1]. First with 2.5 mm [2], as before [1]."}
    assert [(one.number, one.text) for one in text.references] == [(1, "B. 2002."), (2, "A. 2001.")]


def test_a_sentence_falls_back_to_the_variant_whose_values_are_known():
    entry = {"text": ["With {shells}.", "Plain."]}
    assert sentence(entry, {"shells": "1, 2"}) == "With 1, 2."
    assert sentence(entry, {}) == "Plain."


def test_conditions_choose_a_variant():
    entry = {"text": [{"when": {"engine": "fsl"}, "text": "FSL."}, "Ours."]}
    assert sentence(entry, {"engine": "fsl"}) == "FSL."
    assert sentence(entry, {"engine": "embedded"}) == "Ours."


def test_an_unknown_source_is_refused():
    with pytest.raises(SettingError, match="unknown source"):
        methods_text(lineage(x={}), {"x": {"part": "A", "text": "See [@nobody]."}}, CITATIONS)


def test_the_shipped_sentences_cite_listed_sources_and_name_rules(root):
    sentences, citations = load_methods(REPORT_FOLDER)
    everything = lineage(**{name: {} for name in sentences})
    text = json.dumps(sentences)
    for key in citations:
        assert f"[@{key}]" in text, f"{key} is never cited"
    methods_text(everything, sentences, citations)
    scripts = {path.stem for path in (root / "scripts").glob("*.py")}
    predictions = {f"predict_{name}" for name in system_names()}
    assert set(sentences) - {"always"} <= scripts | predictions


def test_lineage_reads_steps_settings_and_findings(session_tree):
    found = lineage_of([session_tree.files["fa"], session_tree.files["md"], session_tree.files["rois"]])
    assert list(found.steps) == ["fit_tensor", "tabulate_rois"]
    assert found.steps["tabulate_rois"].settings["tissue_threshold"] == 0.8
    assert "roi" not in found.steps["tabulate_rois"].facts
    assert "numpy" in found.software


def test_results_without_a_sidecar_are_left_out(tmp_path):
    assert lineage_of([tmp_path / "nothing.nii.gz"]).steps == {}
