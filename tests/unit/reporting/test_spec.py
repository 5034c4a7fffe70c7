"""The report specification and what it asks for."""

import copy

import pytest
import yaml

from scan2map.errors import SettingError
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.spec import figure_function, load_spec, page_files, parts

CONTENT = yaml.safe_load((REPORT_FOLDER / "subject.yaml").read_text())


def write(tmp_path, change):
    content = copy.deepcopy(CONTENT)
    change(content)
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_every_figure_function_exists_and_every_id_is_unique(page_spec):
    identifiers = [part.id for section in page_spec.sections for part in parts(section)]
    identifiers += [section.id for section in page_spec.sections]
    assert len(set(identifiers)) == len(identifiers)
    for section in page_spec.sections:
        for figure in section.figures:
            assert callable(figure_function(figure.function))


def test_every_layer_of_a_viewer_has_its_file(page_spec):
    for section in page_spec.sections:
        if section.viewer:
            wanted = {layer["input"] for layer in section.viewer.layers}
            assert wanted <= set(section.viewer.inputs)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["sections"][0]["figures"][0].update(colour="red"),
        lambda content: content["sections"][0]["figures"][0].pop("caption"),
        lambda content: content["sections"][0]["figures"][0]["inputs"].update(image="nothing"),
        lambda content: content.update(extra=1),
        lambda content: content["files"]["t1w"].pop("suffix"),
    ],
)
def test_a_broken_specification_is_refused(tmp_path, change):
    with pytest.raises(SettingError):
        load_spec(write(tmp_path, change))


def test_an_unknown_figure_function_is_refused():
    with pytest.raises(SettingError, match="no figure function"):
        figure_function("maps.nothing")


def test_files_follow_what_runs(page_spec):
    def derivative(datatype, suffix, extension, **entities):
        return f"{datatype}/{suffix}{extension}"

    files = page_files(page_spec, derivative, lambda modality: modality == "dwi", lambda role: [])
    assert {"fa", "md", "field"} <= set(files)
    assert not {"t1w", "cbf", "dwi_gm", "dwi_to_t1w"} & set(files)
    everything = page_files(page_spec, derivative, lambda modality: True, lambda role: [f"{role}_1", f"{role}_2"])
    assert everything["ct"] == "ct_1"
    assert set(everything) == set(page_spec.files)
    assert everything["dwi_to_t1w"] == "dwi/xfm.mat"
