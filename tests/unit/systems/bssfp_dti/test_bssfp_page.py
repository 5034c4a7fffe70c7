"""The section of the session's page: what is shown beside the prediction, with and without a mean brain."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import save_image
from scan2map.provenance import write_sidecar
from scan2map.reporting.figures.models import _coloured
from scan2map.reporting.model_sections import model_section, prediction_files
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.spec import load_spec
from scan2map.reporting.states import ModalityState
from scan2map.systems import load_system
from scan2map.training.predict import _require_companions, map_name

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
DESCRIPTION = load_system("bssfp_dti").description
BESIDE_FA = [
    "Model", "Diffusion scan", "Template", "Input", "Direction", "Direction, diffusion scan", "Direction, template",
    "Uncertainty (SD)",
]  # fmt: skip


def section(folder, maps):
    rng = np.random.default_rng(1)
    for wanted in maps:
        volumes = {"direction": (3,), "data": (6,)}.get(wanted.role, ())
        save_image(folder / map_name(wanted, "01", "01"), rng.uniform(0.2, 0.6, (10, 12, 8, *volumes)), AFFINE)
    files = prediction_files("bssfp_dti", folder, "01", "01")
    write_sidecar(files["bssfp_dti.fa"], step="predict_bssfp_dti", description="d", Model={"Package": "p@1"})
    mask = folder / "mask.nii.gz"
    save_image(mask, np.ones((10, 12, 8), np.uint8), AFFINE)
    settings = {"slices": 3, "picture_width_px": 300, "viewer_voxel_mm": 4}
    states = {"dwi": ModalityState("dwi", "runs"), "bssfp": ModalityState("bssfp", "runs")}
    spec = load_spec(REPORT_FOLDER / "subject.yaml")
    return model_section("bssfp_dti", files | {"dwi_mask": str(mask)}, spec, states, settings)


def test_the_page_shows_input_template_scan_direction_and_spread(tmp_path):
    figures = section(tmp_path, DESCRIPTION.maps).figures
    shown = [[picture.label for picture in figure.pictures] for figure in figures]
    assert shown == [BESIDE_FA, ["Model", "Diffusion scan", "Template", "Uncertainty (SD)"]]


def test_a_network_without_a_mean_brain_shows_no_template(tmp_path):
    figures = section(tmp_path, [wanted for wanted in DESCRIPTION.maps if not wanted.optional]).figures
    assert [picture.label for picture in figures[1].pictures] == ["Model", "Diffusion scan", "Uncertainty (SD)"]


def test_a_mean_brain_is_optional_and_a_scan_is_not():
    images = dict.fromkeys(wanted.name for wanted in DESCRIPTION.maps)
    _require_companions(DESCRIPTION, images)
    _require_companions(DESCRIPTION, {name: None for name in images if "template" not in name})
    with pytest.raises(DataError, match="fa_dwi"):
        _require_companions(DESCRIPTION, {name: None for name in images if name != "fa_dwi"})


def test_colours_fill_their_range_inside_the_mask():
    mask = np.array([[[True, False]]])
    found = _coloured(np.full((1, 1, 2, 3), [0.2, 0.4, 1.6]), mask, (0.0, 0.8)).volume
    assert found[0, 0, 0].tolist() == pytest.approx([0.25, 0.5, 1.0])
    assert not found[0, 0, 1].any()
