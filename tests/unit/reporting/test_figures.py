"""Every figure of the specification on a synthetic session."""

import numpy as np
import pytest
from markupsafe import Markup
from synthetic_tree import AFFINE

from scan2map.errors import DataError
from scan2map.images import save_image
from scan2map.reporting.figures.distortion import anatomical_direction, opposed_b0
from scan2map.reporting.figures.maps import direction_colours, display_range
from scan2map.reporting.figures.scenes import Style, window
from scan2map.reporting.page import REPORT_FOLDER
from scan2map.reporting.pictures import Picture
from scan2map.reporting.spec import figure_function, load_spec

FIGURES = [figure for section in load_spec(REPORT_FOLDER / "subject.yaml").sections for figure in section.figures]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Stands for what the synthetic session lacks: a converted series, or the input of a learned system."""
    path = tmp_path_factory.mktemp("image") / "series.nii.gz"
    save_image(path, np.random.default_rng(3).uniform(0, 90, (10, 12, 8, 12)).astype(np.float32), AFFINE)
    return path


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.id)
def test_figure_is_drawn_with_words_for_those_who_do_not_see_it(figure, session_tree, image):
    inputs = {key: session_tree.files.get(name, image) for key, name in figure.inputs.items()}
    drawn = figure_function(figure.function)(inputs, {**figure.options, "alt": figure.alt}, Style(3, 400))
    assert drawn
    for item in drawn:
        assert isinstance(item, Picture | Markup)
        assert figure.alt in (item.alt if isinstance(item, Picture) else str(item))


def test_every_figure_tells_how_to_judge_it():
    assert [figure.id for figure in FIGURES if len(figure.judge) < 30] == []


def test_direction_colours_are_red_green_blue_along_the_axes():
    direction = np.eye(3)[None, None]
    colours = direction_colours(-direction, np.full((1, 1, 3), 0.5))
    assert colours[0, 0] == pytest.approx(0.65 * np.eye(3))


def test_direction_colours_are_dark_without_anisotropy():
    assert direction_colours(np.ones((1, 1, 1, 3)), np.zeros((1, 1, 1))).max() == 0


def test_display_ranges():
    values, mask = np.array([-2.0, 1.0, 50.0]), np.array([True, True, False])
    assert display_range(values, mask, [0, 3]) == (0.0, 3.0)
    low, high = display_range(values, mask, "symmetric")
    assert low == -high == pytest.approx(-2, abs=0.01)
    assert window(np.array([0.0, 10.0, 99.0]), mask)[1] == pytest.approx(11, abs=0.1)


@pytest.mark.parametrize(
    ("affine", "encoding", "name"),
    [(AFFINE, "j-", "AP"), (AFFINE, "j", "PA"), (AFFINE, "i", "RL"), (np.eye(4), "i", "LR"), (np.eye(4), "k-", "SI")],
)
def test_phase_encoding_is_named_by_the_head(affine, encoding, name):
    assert anatomical_direction(encoding, affine) == name


def test_b0_images_that_do_not_fit_their_table_are_refused(session_tree, tmp_path):
    single = tmp_path / "single.nii.gz"
    save_image(single, np.ones((22, 26, 18)), AFFINE)
    names = {"acquisition": "b0_acquisition", "mask": "dwi_mask"}
    inputs = {key: session_tree.files[name] for key, name in names.items()}
    with pytest.raises(DataError, match="do not fit"):
        opposed_b0({**inputs, "uncorrected": single, "corrected": single}, {"alt": ""}, Style(3, 400))


def test_a_motion_table_without_rotations_is_refused(tmp_path):
    table = tmp_path / "motion.tsv"
    table.write_text("trans_x\ttrans_y\ttrans_z\n0\t0\t0\n")
    with pytest.raises(DataError, match="lacks columns"):
        figure_function("motion.head_motion")({"motion": table}, {"alt": ""}, Style())
