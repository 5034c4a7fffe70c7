import json
import logging

import numpy as np
import pytest
from dwi_head import AFFINE, SHAPE, directions, simulate, true_tensor

from scan2map.errors import DataError
from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi.dti import KINDS, check_maps, fit_tensor_files, negative_share, require_gradients
from scan2map.preprocess.dwi.gradient_check import GradientCheck
from scan2map.preprocess.dwi.gradients import write_gradients
from scan2map.preprocess.dwi.tensor import TensorMaps

SETTINGS = {"b0_threshold_s_per_mm2": 50, "tensor": {"max_b_value_s_per_mm2": 1250, "gradient_check": "warn"}}


def fit(folder, b_values, **changes):
    head = simulate(b_values, None, np.zeros((len(b_values), 6)), field=False)
    data = changes.get("data", head.scan.volumes.permute(1, 2, 3, 0).numpy())
    files = {"dwi": folder / "x.nii.gz", "bval": folder / "x.bval", "bvec": folder / "x.bvec"}
    save_image(files["dwi"], data, AFFINE)
    write_gradients(head.scan.gradients, files["bval"], files["bvec"])
    save_image(folder / "mask.nii.gz", changes.get("mask", head.mask), AFFINE, dtype=np.uint8)
    output = {name: folder / f"{name}.nii.gz" for name in KINDS}
    fit_tensor_files(**files, mask=folder / "mask.nii.gz", settings=SETTINGS, output=output)
    return output, head.mask


def test_maps_are_those_of_the_head_and_say_how_they_were_made(tmp_path):
    output, mask = fit(tmp_path, np.array([0, *[1000] * 20, *[3000] * 10], dtype=float))
    tensor = load_image(output["tensor"]).data
    inner = mask.copy()
    inner[:, :, [0, -1]] = False
    np.testing.assert_allclose(tensor[inner], true_tensor()[inner], atol=2e-6)
    facts = json.loads((tmp_path / "FA.json").read_text())
    assert facts["BValuesUsed"] == [0, 1000]
    assert facts["VolumesUsed"] == 21
    assert facts["Units"] == "1"
    assert json.loads((tmp_path / "MD.json").read_text())["Units"] == "mm2/s"


def maps_of(eigenvalues):
    values = np.broadcast_to(eigenvalues, (*SHAPE, 3)).copy()
    values[0, 0, 0] *= [1.01, 1.02, 1.01]
    tensor = np.zeros((*SHAPE, 6))
    tensor[..., (0, 3, 5)] = values
    return TensorMaps(tensor, np.ones(SHAPE), values, np.zeros((*SHAPE, 3)))


@pytest.mark.parametrize(
    ("eigenvalues", "words"),
    [([1.2, 0.6, 0.5], "MD"), ([1.2e-6, 6e-7, 5e-7], "MD"), ([3e-3, 1e-5, 1e-5], "FA"), ([1e-3] * 3, "FA")],
    ids=["in um2/ms", "a thousand times too small", "all sticks", "isotropic everywhere"],
)
def test_impossible_maps_are_refused(eigenvalues, words):
    with pytest.raises(DataError, match=words):
        check_maps(maps_of(eigenvalues), np.ones(SHAPE, bool), "x.nii.gz")


def test_many_negative_eigenvalues_are_refused():
    maps = maps_of([1e-3, 7e-4, 5e-4])
    maps.tensor[: SHAPE[0] // 2, ..., 5] = -1e-4
    mask = np.ones(SHAPE, bool)
    assert negative_share(maps.tensor, mask) == pytest.approx(0.5, abs=0.05)
    with pytest.raises(DataError, match="negative eigenvalues"):
        check_maps(maps, mask, "x.nii.gz")


def test_wrong_axes_stop_or_warn_as_the_settings_say(caplog):
    wrong = GradientCheck(0.2, 0.3, "-x+y+z")
    with pytest.raises(DataError, match=r"-x\+y\+z"):
        require_gradients(wrong, "stop", "x.bvec")
    with caplog.at_level(logging.WARNING):
        require_gradients(wrong, "warn", "x.bvec")
    assert "-x+y+z" in caplog.text
    require_gradients(GradientCheck(0.3, 0.2, "-x+y+z"), "stop", "x.bvec")


def test_directions_are_spread():
    assert np.linalg.matrix_rank(directions(6)) == 3
