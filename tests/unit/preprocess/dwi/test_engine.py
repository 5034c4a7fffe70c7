import json

import numpy as np
import pytest

from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi import engine

AFFINE = np.diag([-4.0, 4, 4, 1])


@pytest.fixture
def calls(monkeypatch):
    """Stand-ins for every engine that note their names and arguments."""
    noted = {}

    def note(module, name):
        monkeypatch.setattr(
            f"scan2map.preprocess.dwi.{module}.{name}", lambda *args, **options: noted.update({name: options})
        )

    note("fsl", "run_eddy")
    note("fsl", "run_dtifit")
    note("correct", "correct_motion")
    note("dti", "fit_tensor_files")
    return noted


def settings(name):
    return {"dwi": {"engine": name, "b0_threshold_s_per_mm2": 50, "mask": {"method": "bet"}}, "fsl": {"some": "fsl"}}


@pytest.mark.parametrize(("name", "called"), [("embedded", "correct_motion"), ("fsl", "run_eddy")])
def test_the_named_engine_corrects_motion_and_no_other(calls, name, called):
    engine.correct_motion({"dwi": "x.nii.gz"}, settings(name), output={}, runs=["a/sub-1_dwi.nii.gz"])
    assert set(calls) == {called}
    assert calls[called]["dwi"] == "x.nii.gz"
    if name == "fsl":
        assert [str(path) for path in calls[called]["sidecars"]] == ["a/sub-1_dwi.json"]
        assert calls[called]["settings"] == {"some": "fsl"}


@pytest.mark.parametrize(("name", "called"), [("embedded", "fit_tensor_files"), ("fsl", "run_dtifit")])
def test_the_named_engine_fits_the_tensor_and_no_other(calls, name, called):
    engine.fit_tensor({"dwi": "x.nii.gz"}, settings(name), output={})
    assert set(calls) == {called}


def test_the_mask_is_that_of_the_named_method_on_the_mean_image(monkeypatch, tmp_path):
    seen = []
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 15

    def bet(image, settings, *, beside):
        seen.append((image.data, settings, beside))
        return ball

    monkeypatch.setattr("scan2map.preprocess.dwi.fsl.run_bet", bet)
    save_image(tmp_path / "b0.nii.gz", np.stack([np.zeros(ball.shape), np.full(ball.shape, 2.0)], axis=-1), AFFINE)
    engine.mask_dwi(tmp_path / "b0.nii.gz", settings("embedded"), mask=tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(load_image(tmp_path / "mask.nii.gz").data > 0, ball)
    assert np.all(seen[0][0] == 1)
    assert seen[0][1] == {"some": "fsl"}
    assert json.loads((tmp_path / "mask.json").read_text())["Settings"] == {"method": "bet"}
