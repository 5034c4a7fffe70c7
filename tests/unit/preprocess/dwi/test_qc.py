import numpy as np
import pandas as pd
import pytest
from dwi_head import AFFINE, SHAPE, simulate

from scan2map.derivative_tables import read_frame
from scan2map.images import save_image
from scan2map.preprocess.dwi.correct import correct_motion
from scan2map.preprocess.dwi.dti import KINDS, fit_tensor_files
from scan2map.preprocess.dwi.gradients import GradientTable, write_gradients
from scan2map.preprocess.dwi.qc import (
    COLUMNS,
    assess_dwi,
    b0_snr,
    b0_variation,
    dice,
    nearest_directions,
    neighbour_correlation,
    tensor_agreement,
)
from scan2map.preprocess.dwi.tensor import design_matrix
from scan2map.preprocess.registration import Transform, save_transform

RNG = np.random.default_rng(0)


def test_noise_of_repeated_images_is_recovered():
    signal = 1000 + 50 * RNG.normal(size=(20000, 1))
    assert b0_snr(signal + 40 * RNG.normal(size=(20000, 5))) == pytest.approx(25, rel=0.05)
    assert b0_variation(signal + 40 * RNG.normal(size=(20000, 5))) == pytest.approx(4, rel=0.1)


def test_one_image_says_nothing_about_noise():
    assert np.isnan(b0_snr(np.ones((10, 1))))
    assert np.isnan(b0_variation(np.ones((10, 1))))


def test_neighbours_are_the_nearest_axes_of_the_same_shell():
    vectors = np.array([[0, 0, 0], [1, 0, 0], [-0.98, 0.2, 0], [0, 1, 0], [0, 0.98, 0.2], [1, 0, 0]], dtype=float)
    vectors[1:] /= np.linalg.norm(vectors[1:], axis=1, keepdims=True)
    table = GradientTable(np.array([0, 1000, 1000, 1000, 1000, 2000.0]), vectors)
    assert nearest_directions(table) == [(1, 2), (2, 1), (3, 4), (4, 3)]


def test_correlation_of_neighbours_is_one_without_noise_and_zero_with_noise_alone():
    table = GradientTable(np.array([0, 1000, 1000.0]), np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]))
    image = RNG.normal(size=(5000, 1))
    assert neighbour_correlation(np.repeat(image, 3, axis=1), table) == pytest.approx(1)
    assert abs(neighbour_correlation(RNG.normal(size=(5000, 3)), table)) < 0.05


def test_contrast_and_residual_of_a_known_tensor():
    vectors = np.vstack([np.zeros(3), np.eye(3), np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]) / np.sqrt(2)])
    table = GradientTable(np.array([0, *[1000] * 6], dtype=float), vectors)
    tensor = np.tile([1.5e-3, 0, 0, 3e-4, 0, 3e-4], (4000, 1))
    s0 = np.full(4000, 1000.0)
    design = design_matrix(table.b_values, table.world_directions(np.diag([-1.0, 1, 1, 1])))
    exact = s0[:, None] * np.exp(tensor @ design[:, :6].T)
    noisy = exact + 20 * RNG.normal(size=exact.shape)
    contrast, residual = tensor_agreement(noisy, table, tensor, s0, np.diag([-1.0, 1, 1, 1]))
    assert residual == pytest.approx(2, rel=0.05)
    assert contrast == pytest.approx(exact[0, 1:].std() / 20, rel=0.1)


def test_overlap_of_masks():
    first, second = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert dice(first, second) == 0.5
    assert dice(first, first) == 1


def test_the_row_of_a_scan_holds_every_column_with_its_meaning(tmp_path):
    b_values = np.array([0, 0, *[1000] * 12], dtype=float)
    head = simulate(b_values, None, np.zeros((14, 6)), noise=20)
    settings = {
        "b0_threshold_s_per_mm2": 50,
        "motion": {"correct": False, "eddy_model": "none", "voxels": 1000, "outlier_threshold_sd": 4},
        "tensor": {"max_b_value_s_per_mm2": 1250, "gradient_check": "warn"},
    }
    merged = {name: tmp_path / f"m.{ending}" for name, ending in
              (("dwi", "nii.gz"), ("bval", "bval"), ("bvec", "bvec"))}  # fmt: skip
    save_image(merged["dwi"], head.scan.volumes.permute(1, 2, 3, 0).numpy(), AFFINE)
    write_gradients(head.scan.gradients, merged["bval"], merged["bvec"])
    rest = {name: tmp_path / f"{name}.nii.gz" for name in ("fieldmap", "mask", "t1w_mask")}
    save_image(rest["fieldmap"], head.scan.field_hz.numpy(), AFFINE)
    for name in ("mask", "t1w_mask"):
        save_image(rest[name], head.mask, AFFINE, dtype=np.uint8)
    acquisition = tmp_path / "m.tsv"
    pd.DataFrame({"phase_encoding": ["j"] * 14, "total_readout_time_s": 0.05}).to_csv(
        acquisition, sep="\t", index=False
    )
    final = {"dwi": tmp_path / "p.nii.gz", "bval": tmp_path / "p.bval", "bvec": tmp_path / "p.bvec"}
    tables = {"motion": tmp_path / "motion.tsv", "outliers": tmp_path / "slices.tsv"}
    fields = {"fieldmap": rest["fieldmap"], "mask": rest["mask"], "acquisition": acquisition}
    correct_motion(**merged, **fields, settings=settings, output=final | tables)
    maps = {name: tmp_path / f"{name}.nii.gz" for name in KINDS}
    fit_tensor_files(**final, mask=rest["mask"], settings=settings, output=maps)
    save_transform(tmp_path / "x.mat", Transform())
    files = {f"merged_{name}": path for name, path in merged.items()} | final | tables
    files |= {"mask": rest["mask"], "t1w_mask": rest["t1w_mask"], "transform": tmp_path / "x.mat"}
    files |= {name: maps[name] for name in ("tensor", "S0", "FA")}
    assess_dwi(files, settings, metrics=tmp_path / "qc.tsv")
    row = read_frame(tmp_path / "qc.tsv", COLUMNS).iloc[0]
    assert row.notna().all()
    assert row["mask_dice"] == pytest.approx(1, abs=0.02)
    assert (row["volumes"], row["directions"], row["outlier_slices"]) == (14, 12, 0)
    assert row["mean_framewise_displacement"] == 0
    assert row["b0_snr"] > 10
    assert head.scan.shape == SHAPE
    assess_dwi(files | {"t1w_mask": [], "transform": []}, settings, metrics=tmp_path / "without_t1w.tsv")
    assert read_frame(tmp_path / "without_t1w.tsv").drop(columns="mask_dice").iloc[0].equals(row.drop("mask_dice"))
