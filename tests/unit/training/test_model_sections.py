"""The section of a system on a session's page: its maps on one scale, or the reason why there are none."""

import numpy as np
import pytest

from scan2map.images import save_image
from scan2map.provenance import write_sidecar
from scan2map.reporting.model_sections import absent_section, model_section, prediction_files, truth_files
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.spec import load_spec
from scan2map.reporting.states import ModalityState
from scan2map.systems import load_system
from scan2map.training.predict import map_name, trained_on

SETTINGS = {"slices": 3, "picture_width_px": 300, "viewer_voxel_mm": 4}


@pytest.fixture
def files(toy, tmp_path):
    """A ball of a brain and three maps of it."""
    distance = np.linalg.norm(np.indices((12, 12, 12)) - 5.5, axis=0)
    affine = np.diag([2.0, 2, 2, 1])
    save_image(tmp_path / "mask.nii.gz", distance < 5, affine)
    for wanted in load_system("toy").description.maps:
        save_image(tmp_path / map_name(wanted, "01", "01"), distance, affine)
    found = prediction_files("toy", tmp_path, "01", "01")
    assert len(found) == 3
    write_sidecar(
        found["toy.double"], step="predict_toy", description="d", Model={"Package": "toy@1", "TrainedOn": "ghosts"}
    )
    return found | {"t1w_mask": str(tmp_path / "mask.nii.gz")}


def test_prediction_and_baseline_share_a_group_the_uncertainty_does_not(files):
    states = {"anat": ModalityState("anat", "runs")}
    section = model_section("toy", files, load_spec(REPORT_FOLDER / "subject.yaml"), states, SETTINGS)
    (figure,) = section.figures
    assert figure.notice == ""
    groups = {picture.label: picture.group for picture in figure.pictures}
    assert groups["Model"] == groups["Conventional"] != groups["Uncertainty (SD)"]
    assert "trained on ghosts" in figure.caption
    assert "toy@1" in section.introduction


def test_the_truth_of_a_simulated_session_flickers_against_the_prediction(files, tmp_path):
    """It lies on another grid of the same space."""
    save_image(tmp_path / "true.nii.gz", np.full((24, 24, 24), 5.0), np.diag([1.0, 1, 1, 1]))
    found = truth_files("toy", {"toy_true_double": str(tmp_path / "true.nii.gz"), "truth": "table.tsv"})
    assert list(found) == ["toy.true_double"]
    states = {"anat": ModalityState("anat", "runs")}
    section = model_section("toy", files | found, load_spec(REPORT_FOLDER / "subject.yaml"), states, SETTINGS)
    (figure,) = section.figures
    groups = {picture.label: picture.group for picture in figure.pictures}
    assert groups["Truth"] == groups["Model"]
    assert figure.notice == ""
    assert "Truth: what was simulated." in figure.caption


@pytest.mark.parametrize(
    ("system", "words"), [("asl_quantnet", "simulated subjects"), ("dwi_vae", "this session's own scan")]
)
def test_a_map_says_whose_data_its_networks_have_seen(system, words):
    assert trained_on(load_system(system).description) == words


def test_a_failed_prediction_says_why(toy):
    section = absent_section("toy", [{"system": "toy", "reason": "delays differ"}, {"reason": "another step"}])
    assert section.notice == "No prediction: delays differ"


def test_a_session_without_the_inputs_says_what_they_are(toy):
    assert "(anat, t1w)" in absent_section("toy", [{"reason": "another step"}]).notice
