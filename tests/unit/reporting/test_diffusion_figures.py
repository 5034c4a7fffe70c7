"""The carpet of slices and the discs of gradient directions."""

import numpy as np
import pandas as pd
import pytest

from scan2map.errors import DataError
from scan2map.reporting.figures.diffusion import equal_area, slice_carpet, slice_grid
from scan2map.reporting.figures.motion import head_motion
from scan2map.reporting.figures.scenes import Style


def test_equal_areas_of_the_sphere_have_equal_areas_on_the_disc():
    # A cap of height h has the share h of the half sphere (Archimedes).
    for height in (0.1, 0.5, 1.0):
        edge = np.array([[np.sqrt(1 - (1 - height) ** 2), 0, 1 - height]])
        radius = np.linalg.norm(equal_area(edge)[0])
        assert radius**2 == pytest.approx(height)


def test_an_axis_and_its_opposite_are_one_point():
    direction = np.array([[0.6, 0.0, 0.8]])
    up, down = equal_area(direction), equal_area(-direction)
    np.testing.assert_allclose(up[0], down[0])
    assert (up[1].tolist(), down[1].tolist()) == ([False], [True])
    assert up[0][0, 0] > 0


def test_the_carpet_has_slices_upwards_and_volumes_to_the_right():
    table = pd.DataFrame({"volume": [0, 0, 1, 1, 2, 2], "slice": [0, 1] * 3, "score": [0, 1, 10, 11, 20, 21]})
    np.testing.assert_array_equal(slice_grid(table, "score"), [[0, 10, 20], [1, 11, 21]])


def test_tables_of_different_series_are_refused(session_tree, tmp_path):
    short = tmp_path / "acquisition.tsv"
    pd.DataFrame({"b_value": [0, 1000.0]}).to_csv(short, sep="\t", index=False)
    with pytest.raises(DataError, match="does not fit its series"):
        slice_carpet({"slices": session_tree.files["dwi_slices"], "acquisition": short}, {"alt": ""}, Style(3, 400))


def test_a_replaced_slice_is_framed(session_tree, tmp_path):
    """Without the frame of its one outlier the picture has no orange."""
    from io import BytesIO

    from PIL import Image as Pillow

    def orange(slices):
        inputs = {"slices": slices, "acquisition": session_tree.files["dwi_acquisition"]}
        (picture,) = slice_carpet(inputs, {"alt": "carpet"}, Style(3, 600))
        pixels = np.asarray(Pillow.open(BytesIO(picture.content)), int)
        return (np.abs(pixels - [0xE6, 0x9F, 0x00]).max(-1) < 40).sum()

    table = pd.read_csv(session_tree.files["dwi_slices"], sep="\t")
    table.assign(outlier="no").to_csv(tmp_path / "none.tsv", sep="\t", index=False)
    assert orange(session_tree.files["dwi_slices"]) > 10
    assert orange(tmp_path / "none.tsv") == 0


def test_framewise_displacement_is_drawn_where_it_is_known(session_tree, tmp_path):
    table = pd.read_csv(session_tree.files["dwi_motion"], sep="\t")
    table.assign(framewise_displacement=0.3).to_csv(tmp_path / "motion.tsv", sep="\t", index=False)
    assert len(head_motion({"motion": session_tree.files["dwi_motion"]}, {"alt": "motion"}, Style())) == 2
    charts = head_motion({"motion": tmp_path / "motion.tsv"}, {"alt": "motion"}, Style())
    assert "framewise displacement" in charts[2]
