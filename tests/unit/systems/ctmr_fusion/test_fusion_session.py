"""Prediction of one session: maps on the MRI's own grid, refusals, and the system as the workflow sees it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.provenance import write_json, write_sidecar
from scan2map.reporting.model_sections import model_section, prediction_files
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.spec import load_spec
from scan2map.reporting.states import ModalityState
from scan2map.systems.ctmr_fusion import SYSTEM, session
from scan2map.systems.ctmr_fusion.training import build_network
from scan2map.training.acquisition import check_acquisition
from scan2map.training.predict import map_name

AFFINE = np.diag([-4.0, 4.0, 5.0, 1.0])


@pytest.fixture
def inputs(tmp_path, fusion_scene):
    """The scene on a finer grid whose first axis runs right to left, as preprocessing leaves a session."""

    def finer(values):
        from scipy.ndimage import zoom

        return zoom(np.asarray(values, dtype=np.float32), (1.25, 1.25, 1), order=1)

    images = {
        "ct": finer(fusion_scene.ct), "mri": finer(fusion_scene.mri), "brain": finer(fusion_scene.brain) > 0.5,
        "bone": finer(fusion_scene.bone) > 0.5,
    }  # fmt: skip
    paths = {name: tmp_path / f"{name}.nii.gz" for name in images}
    for name, values in images.items():
        save_image(paths[name], values, AFFINE)
    write_json(tmp_path / "mri.json", {"Contrast": "FLAIR"})
    return paths


@pytest.fixture
def package(fusion_settings):
    fusion_settings["data"]["voxel_size_mm"] = [5.0, 5.0, 5.0]
    return SimpleNamespace(settings=fusion_settings, members=[build_network(fusion_settings).eval()])


def test_every_map_is_there_and_lies_on_the_mris_grid(inputs, package):
    with torch.inference_mode():
        maps = session.predict_session(package, inputs, "cpu")
    mri = load_image(inputs["mri"])
    assert set(maps) == {one.name for one in SYSTEM.description.maps}
    for image in maps.values():
        assert image.data.shape == mri.data.shape
        assert np.array_equal(image.affine, mri.affine)
        assert np.isfinite(image.data).all()
    assert np.array_equal(maps["mri"].data, mri.data)
    assert 0 <= maps["lesion"].data.min() <= maps["lesion"].data.max() <= 1
    assert maps["fused_sd"].data.min() >= 0


def test_the_head_is_what_is_not_air_around_it():
    ct = np.full((9, 9, 1), -1000.0)
    ct[2:7, 2:7] = 40
    ct[4, 4] = -1000  # an air cell
    head = session.head_mask(Image(ct, AFFINE)).data[..., 0]
    assert head[2:7, 2:7].all()
    assert head.sum() == 25


def test_what_is_fused_lies_where_it_was(inputs, package):
    """An untrained network mixes MRI and CT in halves: their mean comes back at its place, a little smoother."""
    with torch.inference_mode():
        maps = session.predict_session(package, inputs, "cpu")
    mean = (maps["mri"].data + maps["ct"].data) / 2
    brain = load_image(inputs["brain"]).data > 0
    assert np.corrcoef(maps["fused"].data[brain], mean[brain])[0, 1] > 0.9
    mirrored = np.corrcoef(maps["fused"].data[::-1][brain], mean[brain])[0, 1]
    assert mirrored < 0.75


def test_guidance_can_be_switched_on(inputs, package):
    package.settings["guidance"] = {"enabled": True, "preset": "stroke", "step_size": 0.1}
    with torch.inference_mode():
        guided = session.predict_session(package, inputs, "cpu")["fused"].data
        package.settings["guidance"]["enabled"] = False
        plain = session.predict_session(package, inputs, "cpu")["fused"].data
    assert np.abs(guided - plain).max() > 0.01


def test_the_page_shows_both_sources_the_fused_image_lesion_and_uncertainty_and_warns(tmp_path):
    for wanted in SYSTEM.description.maps:
        save_image(tmp_path / map_name(wanted, "01", "01"), np.ones((10, 10, 4)), AFFINE)
    files = prediction_files("ctmr_fusion", tmp_path, "01", "01")
    write_sidecar(files["ctmr_fusion.fused"], step="predict_ctmr_fusion", description="d", Model={"Package": "p@1"})
    settings = {"slices": 3, "picture_width_px": 300, "viewer_voxel_mm": 4}
    states = {"ctmr": ModalityState("ctmr", "runs")}
    section = model_section("ctmr_fusion", files, load_spec(REPORT_FOLDER / "subject.yaml"), states, settings)
    shown = [[picture.label for picture in figure.pictures] for figure in section.figures]
    pictures = ["Fused", "Conventional", "Uncertainty (SD)", "MRI", "CT"]
    assert shown == [pictures, ["Lesion probability", "Uncertainty (SD)"]]
    layers = {layer["name"]: (layer["base"], layer["start"]) for layer in json.loads(section.viewer.data)["layers"]}
    below, over = (True, False), (False, False)
    assert layers == {
        "Fused": below, "MRI": below, "CT": below, "Lesion probability": (False, True), "Uncertainty (SD)": over,
    }  # fmt: skip
    assert "not for diagnosis" in section.introduction


def test_the_networks_grid_covers_the_session_and_divides():
    image = Image(np.zeros((110, 116, 30)), np.diag([-2.0, 2.0, 5.0, 1.0]))
    grid = session.network_grid(image, 4.5)
    assert grid.data.shape == (56, 56, 30)
    assert grid.voxel_size_mm == pytest.approx([4.5, 4.5, 5.0])
    middles = [one.affine[:3, :3] @ ((np.array(one.data.shape) - 1) / 2) + one.affine[:3, 3] for one in (image, grid)]
    assert middles[0] == pytest.approx(middles[1])


def test_a_session_that_fits_is_taken_and_another_contrast_is_refused(inputs, fusion_settings, tmp_path):
    demanded = SYSTEM.acquisition(fusion_settings)
    check_acquisition(demanded, SYSTEM.read_acquisition(inputs), "package")
    write_json(tmp_path / "mri.json", {"Contrast": "ADC"})
    with pytest.raises(DataError, match="contrast = ADC"):
        check_acquisition(demanded, SYSTEM.read_acquisition(inputs), "package")


def test_thick_slices_are_refused(inputs, fusion_settings, tmp_path):
    save_image(inputs["mri"], np.zeros((4, 4, 4)), np.diag([4.0, 4.0, 9.0, 1.0]))
    with pytest.raises(DataError, match="slice_distance_mm = 9"):
        check_acquisition(SYSTEM.acquisition(fusion_settings), SYSTEM.read_acquisition(inputs), "package")


def test_every_page_says_that_it_is_research_software():
    assert any("Not a medical device" in limit and "radiologist" in limit for limit in SYSTEM.description.limits)
