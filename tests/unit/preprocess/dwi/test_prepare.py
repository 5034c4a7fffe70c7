import json

import numpy as np
import pandas as pd
import pytest
from dwi_head import directions

from scan2map.errors import DataError
from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi.gradients import GradientTable, read_gradients, write_gradients
from scan2map.preprocess.dwi.prepare import find_corrupted, prepare_dwi, read_acquisition

SETTINGS = {
    "b0_threshold_s_per_mm2": 50,
    "prepare": {"corrupted_volumes": "stop", "denoising": "none", "gibbs_removal": False},
}
AFFINE = np.diag([-3.0, 3, 3, 1])
SHAPE = (12, 14, 8)


def head(b_value=0.0):
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    inside = (x / 5) ** 2 + (y / 6) ** 2 + (z / 4) ** 2 < 1
    return inside * (800 + 60 * np.sin(x) * np.cos(y)) * np.exp(-b_value * 8e-4)


def write_run(folder, name="dwi", *, b_values=(0, *[1000] * 8), way="j-", readout=0.05, data=None, **sidecar):
    """A small diffusion run; arguments break it."""
    b_values = np.array(b_values, dtype=float)
    vectors = np.zeros((len(b_values), 3))
    vectors[b_values > 0] = directions(int((b_values > 0).sum()))
    data = np.stack([head(value) for value in b_values], axis=-1) if data is None else data
    path = folder / f"{name}.nii.gz"
    save_image(path, data, AFFINE)
    write_gradients(GradientTable(b_values, vectors), folder / f"{name}.bval", folder / f"{name}.bvec")
    content = {"PhaseEncodingDirection": way, "TotalReadoutTime": readout, **sidecar}
    given = {key: value for key, value in content.items() if value is not None}
    (folder / f"{name}.json").write_text(json.dumps(given))
    return path


def write_b0(folder, name="epi", volumes=2):
    path = write_run(folder, name, b_values=[0] * volumes, way="j", data=np.stack([head() * 0.9] * volumes, axis=-1))
    (folder / f"{name}.bval").unlink()
    (folder / f"{name}.bvec").unlink()
    return path


def run(folder, dwi, epi=(), **prepare):
    names = {"dwi": "m.nii.gz", "bval": "m.bval", "bvec": "m.bvec", "acquisition": "m_acq.tsv"}
    names |= {"epi": "b0.nii.gz", "epi_acquisition": "b0_acq.tsv"}
    output = {key: folder / "out" / name for key, name in names.items()}
    prepare_dwi(dwi, list(epi), {**SETTINGS, "prepare": {**SETTINGS["prepare"], **prepare}}, output=output)
    return output


def test_runs_are_merged_in_order_and_all_b0_collected(tmp_path):
    dwi = [write_run(tmp_path, "one", b_values=[0, *[1000] * 6, 0]), write_run(tmp_path, "two", way="j")]
    output = run(tmp_path, dwi, [write_b0(tmp_path)])
    merged, b0 = load_image(output["dwi"]).data, load_image(output["epi"]).data
    table = pd.read_csv(output["acquisition"], sep="\t")
    assert merged.shape[3] == len(table) == 8 + 9
    np.testing.assert_allclose(merged[..., 8], head(), rtol=1e-6)
    assert table["phase_encoding"].tolist() == ["j-"] * 8 + ["j"] * 9
    assert table["volume"].tolist() == [*range(8), *range(9)]
    b0_table = pd.read_csv(output["epi_acquisition"], sep="\t")
    assert b0_table["file"].tolist() == ["one.nii.gz"] * 2 + ["two.nii.gz"] + ["epi.nii.gz"] * 2
    assert b0_table["volume"].tolist() == [0, 7, 0, 0, 1]
    np.testing.assert_allclose(b0[..., 0], head(), rtol=1e-6)
    np.testing.assert_allclose(b0[..., 4], 0.9 * head(), rtol=1e-6)
    gradients = read_gradients(output["bval"], output["bvec"], 17)
    np.testing.assert_allclose(gradients.b_values, table["b_value"])
    assert json.loads((tmp_path / "out" / "m.json").read_text())["Sources"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"readout": None}, "readout time"),
        ({"readout": 0.0}, "readout time"),
        ({"readout": -0.05}, "readout time"),
        ({"readout": 50.0}, "readout time"),
        ({"readout": "0.05"}, "readout time"),
        ({"way": None}, "phase-encoding direction"),
        ({"way": "AP"}, "phase-encoding direction"),
        ({"EffectiveEchoSpacing": 0.0005, "ReconMatrixPE": 61}, "contradicts the echo spacing"),
    ],
)
def test_wrong_sidecars_are_refused(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        run(tmp_path, [write_run(tmp_path, **changes)])


def test_consistent_echo_spacing_is_accepted(tmp_path):
    path = write_run(tmp_path, EffectiveEchoSpacing=0.05 / 60, ReconMatrixPE=61)
    assert read_acquisition(path) == ("j-", 0.05)


def test_a_missing_sidecar_is_named(tmp_path):
    path = write_run(tmp_path)
    (tmp_path / "dwi.json").unlink()
    with pytest.raises(DataError, match=r"dwi\.json"):
        run(tmp_path, [path])


def test_all_b0_data_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot determine a diffusion tensor"):
        run(tmp_path, [write_run(tmp_path, b_values=[0] * 5)])


def test_voxels_that_are_not_numbers_are_refused(tmp_path):
    data = np.stack([head(value) for value in (0, *[1000] * 8)], axis=-1)
    data[3, 4, 5, 2] = np.nan
    with pytest.raises(DataError, match="not numbers"):
        run(tmp_path, [write_run(tmp_path, data=data)])


def test_other_grids_are_refused(tmp_path):
    one, two = write_run(tmp_path, "one"), write_run(tmp_path, "two")
    moved = AFFINE.copy()
    moved[0, 3] = 5
    save_image(two, load_image(two).data, moved)
    with pytest.raises(DataError, match="different grids"):
        run(tmp_path, [one, two])


def corrupted(kind):
    data = np.stack([head(value) for value in (0, *[1000] * 8)], axis=-1)
    rng = np.random.default_rng(0)
    volume = data[..., 4]
    level = volume[volume > 0].mean()
    data[..., 4] = {"zero": 0 * volume, "bright": 3 * volume, "noise": rng.uniform(0, 2 * level, SHAPE)}[kind]
    return data


@pytest.mark.parametrize(
    ("kind", "words"), [("zero", "is 0 everywhere"), ("bright", "3.00 times"), ("noise", "correlates")]
)
def test_a_corrupted_volume_stops_the_session(tmp_path, kind, words):
    with pytest.raises(DataError, match=f"volume 4.*{words}"):
        run(tmp_path, [write_run(tmp_path, data=corrupted(kind))])


def test_a_corrupted_volume_is_dropped_where_the_settings_say_so(tmp_path, caplog):
    output = run(tmp_path, [write_run(tmp_path, data=corrupted("noise"))], corrupted_volumes="drop")
    assert "volume 4" in caplog.text
    table = pd.read_csv(output["acquisition"], sep="\t")
    assert table["volume"].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert load_image(output["dwi"]).data.shape[3] == len(read_gradients(output["bval"], output["bvec"], 8)) == 8


def test_a_moved_head_is_not_corrupted():
    volumes = np.stack([np.roll(head(1000), shift, axis=1) for shift in (0, 0, 1, 1, 2, 0)], axis=-1)
    assert find_corrupted(volumes, np.full(6, 1000.0)) == {}


def test_denoising_runs_before_merging(tmp_path):
    rng = np.random.default_rng(1)
    b_values = [0, *[1000] * 19]
    clean = np.stack([head(value) for value in b_values], axis=-1)
    noisy = clean + rng.normal(0, 30, clean.shape)
    path = write_run(tmp_path, b_values=b_values, data=noisy)
    inside = head() > 0
    errors = {}
    for method in ("none", "mppca"):
        merged = load_image(run(tmp_path, [path], denoising=method)["dwi"]).data
        errors[method] = np.sqrt(((merged - clean)[inside] ** 2).mean())
    assert errors["mppca"] < 0.6 * errors["none"]
