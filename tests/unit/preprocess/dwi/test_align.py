import numpy as np
from dwi_head import world_grid
from scipy.spatial.transform import Rotation

from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.dwi.align import align_dwi
from scan2map.preprocess.dwi.gradients import GradientTable, write_gradients
from scan2map.preprocess.registration import load_transform

SETTINGS = {"b0_threshold_s_per_mm2": 50}


def test_the_scan_is_brought_onto_the_t1w_image(tmp_path):
    from dwi_head import AFFINE, SHAPE, tissue

    turn, shift = Rotation.from_euler("xyz", [3, -4, 5], degrees=True).as_matrix(), np.array([4.0, -3, 2])
    grid = world_grid()
    b0 = tissue(grid)[0].reshape(SHAPE)
    dwi = np.stack([b0, 0.4 * b0], axis=-1)
    in_t1w = (grid - shift) @ turn  # where T1w points lie in the diffusion scan: R^T (x - t)
    signal = tissue(in_t1w)[0]
    t1w = np.where(signal > 100, 2200 - signal, signal).reshape(SHAPE)
    brain = (signal > 100).reshape(SHAPE)
    save_image(tmp_path / "dwi.nii.gz", dwi, AFFINE)
    write_gradients(
        GradientTable(np.array([0, 1000.0]), np.eye(3)[:2] * [[0], [1]]), tmp_path / "d.bval", tmp_path / "d.bvec"
    )
    for name, data in {"mask": b0 > 100, "t1w": t1w, "t1w_mask": brain, "WM": 0.8 * brain}.items():
        save_image(tmp_path / f"{name}.nii.gz", data, AFFINE)
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("mask", "t1w", "t1w_mask")}
    output = {"transform": tmp_path / "x.mat", "WM": tmp_path / "wm_dwi.nii.gz"}
    align_dwi(
        tmp_path / "dwi.nii.gz", tmp_path / "d.bval", tmp_path / "d.bvec", **paths,
        tissues={"WM": tmp_path / "WM.nii.gz"}, settings=SETTINGS, output=output,
    )  # fmt: skip
    corners = np.array([[0, 0, 0], [40, 0, 0], [0, -50, 0], [0, 0, 30]], dtype=float)
    found = load_transform(output["transform"]).points(corners)
    assert np.abs(found - (corners - shift) @ turn).max() < 1.5  # 4 mm voxels
    moved = load_image(output["WM"]).data
    inside = b0 > 600
    assert moved[inside].mean() > 0.7
    assert Image(moved, AFFINE).data.max() <= 0.81
