from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from dwi_head import AFFINE, SHAPE, simulate

from scan2map.derivative_tables import read_frame
from scan2map.errors import DataError
from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi.correct import (
    MOTION_COLUMNS,
    SLICE_COLUMNS,
    Correction,
    correct_motion,
    correct_scan,
    motion_table,
    read_scan,
    require_signal,
    slice_table,
)
from scan2map.preprocess.dwi.gradients import read_gradients, write_gradients
from scan2map.preprocess.dwi.motion import Motion
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix

CENTRE = grid_centre_mm(SHAPE, AFFINE)
MOTION = {"correct": True, "eddy_model": "linear", "voxels": 4000, "outlier_threshold_sd": 5}
SETTINGS = {"b0_threshold_s_per_mm2": 50, "motion": MOTION}
B_VALUES = np.array([0, *[1000] * 16], dtype=float)
COUNT = len(B_VALUES)


@pytest.fixture(scope="module")
def rest():
    return simulate(B_VALUES, None, np.zeros((COUNT, 6)), noise=20)


def save(folder, simulated, rows=None):
    scan = simulated.scan
    files = {name: folder / f"x.{name}" for name in ("bval", "bvec")}
    files |= {"dwi": folder / "x.nii.gz", "fieldmap": folder / "f.nii.gz", "mask": folder / "m.nii.gz"}
    files["acquisition"] = folder / "x.tsv"
    save_image(files["dwi"], scan.volumes.permute(1, 2, 3, 0).numpy(), AFFINE)
    save_image(files["fieldmap"], scan.field_hz.numpy(), AFFINE)
    save_image(files["mask"], simulated.mask, AFFINE, dtype=np.uint8)
    write_gradients(scan.gradients, files["bval"], files["bvec"])
    count = len(scan.phase_encoding) if rows is None else rows
    table = {"phase_encoding": ["j"] * count, "total_readout_time_s": scan.readout_time_s[0]}
    pd.DataFrame(table, index=range(count)).to_csv(files["acquisition"], sep="\t", index=False)
    return files


def test_displacement_sums_translations_and_rotations_on_a_sphere_of_50_mm():
    rigid = np.array([rigid_matrix(one, CENTRE) for one in ([0] * 6, [1, -2, 0, 0, 0.01, 0], [1, -2, 0, 0, 0.01, 0])])
    table = motion_table(Motion(rigid, np.zeros((3, 10))), CENTRE)
    np.testing.assert_allclose(table["framewise_displacement"], [0, 3.5, 0], atol=1e-9)
    np.testing.assert_allclose(table[["trans_x", "trans_y", "rot_y"]].iloc[1], [1, -2, 0.01], atol=1e-9)
    assert list(table) == list(MOTION_COLUMNS)


def test_slices_are_tabulated_volume_by_volume():
    scores, outliers = np.array([[0.0, 1.0], [-9.0, 2.0]]), np.array([[False, False], [True, False]])
    table = slice_table(Correction(None, None, None, scores, outliers))
    assert table.loc[table["outlier"] == "yes", ["volume", "slice", "score"]].values.tolist() == [[1, 0, -9]]
    assert list(table) == list(SLICE_COLUMNS)


def test_volumes_without_signal_stop_the_session():
    outliers = np.zeros((3, 10), dtype=bool)
    outliers[2, :6] = True
    with pytest.raises(DataError, match="volumes 2 "):
        require_signal(Correction(None, None, None, None, outliers), "x.nii.gz")


def test_without_motion_correction_only_the_field_is_undone(rest):
    scan = replace(rest.scan, volumes=rest.scan.volumes.clone())
    result = correct_scan(scan, rest.mask, {**MOTION, "correct": False})
    np.testing.assert_array_equal(result.motion.rigid, np.tile(np.eye(4), (COUNT, 1, 1)))
    still = (
        simulate(B_VALUES, scan.gradients, np.zeros((COUNT, 6)), field=False).scan.volumes.permute(1, 2, 3, 0).numpy()
    )
    errors = [np.sqrt(((data - still)[rest.mask] ** 2).mean()) for data in
              (rest.scan.volumes.permute(1, 2, 3, 0).numpy(), result.data)]  # fmt: skip
    assert errors[1] < 0.7 * errors[0]


def test_a_lost_slice_is_found_and_replaced_by_what_it_would_have_been(rest):
    volumes = rest.scan.volumes.clone()
    volumes[4, :, :, 12] *= 0.2
    scan = replace(rest.scan, volumes=volumes)
    result = correct_scan(scan, rest.mask, MOTION)
    assert np.argwhere(result.outliers).tolist() == [[4, 12]]
    still = simulate(B_VALUES, scan.gradients, np.zeros((COUNT, 6)), field=False).scan.volumes
    truth, found = still[4, :, :, 12].numpy(), result.data[:, :, 12, 4]
    inside = rest.mask[:, :, 12]
    assert np.corrcoef(found[inside], truth[inside])[0, 1] > 0.9
    assert np.abs(found[inside].mean() / truth[inside].mean() - 1) < 0.1


def test_files_are_read_and_written(rest, tmp_path):
    (tmp_path / "in").mkdir()
    names = {
        "dwi": "y.nii.gz",
        "bval": "y.bval",
        "bvec": "y.bvec",
        "motion": "y_motion.tsv",
        "outliers": "y_slices.tsv",
    }
    output = {key: tmp_path / "out" / name for key, name in names.items()}
    correct_motion(**save(tmp_path / "in", rest), settings=SETTINGS, output=output)
    assert load_image(output["dwi"]).data.shape == (*SHAPE, COUNT)
    assert len(read_frame(output["motion"], MOTION_COLUMNS)) == COUNT
    assert len(read_frame(output["outliers"], SLICE_COLUMNS)) == COUNT * SHAPE[2]
    gradients = read_gradients(output["bval"], output["bvec"], COUNT)
    cosine = np.abs((gradients.b_vectors * rest.scan.gradients.b_vectors).sum(1))[1:]
    assert np.all(cosine > np.cos(np.deg2rad(2)))


def test_an_acquisition_table_of_another_series_is_refused(rest, tmp_path):
    files = save(tmp_path, rest, rows=7)
    del files["mask"]
    with pytest.raises(DataError, match="does not fit the series"):
        read_scan(**files, b0_threshold=50, device="cpu")


def test_rotated_b_vectors_follow_the_head():
    turn = np.tile([0, 0, 0, 0, 0, np.deg2rad(20)], (7, 1))
    turn[0] = 0
    head = simulate([0, *[1000] * 6], None, turn, field=False)
    rotated = head.scan.gradients.rotated(head.rigid[:, :3, :3], AFFINE).world_directions(AFFINE)
    in_scanner = head.scan.gradients.world_directions(AFFINE)
    angle = np.deg2rad(20)
    back = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(rotated[1:], in_scanner[1:] @ back.T, atol=1e-6)
    assert isinstance(head.scan.volumes, torch.Tensor)
