import numpy as np
from dwi_head import AFFINE, SHAPE, fractions, tissue, world_grid
from scipy.spatial.transform import Rotation

from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi.align import align_dwi
from scan2map.preprocess.dwi.gradients import GradientTable, write_gradients
from scan2map.preprocess.registration import load_transform

FINE = np.array([[2.5, 0, 0, -68], [0, 2.5, 0, -80], [0, 0, 2.5, -52], [0, 0, 0, 1]])
FINE_SHAPE = (56, 66, 44)
TURN = Rotation.from_euler("xyz", [3, -4, 5], degrees=True).as_matrix()
SHIFT_MM = np.array([4.0, -3, 2])


def save_t1w(folder):
    """T1w image, mask and tissue maps of the head, turned and shifted against the diffusion scan."""
    brain, white, fluid = fractions((world_grid(FINE_SHAPE, FINE) - SHIFT_MM) @ TURN)
    maps = {"t1w": brain * (1000 * white + 650 * (1 - white - fluid) + 200 * fluid), "t1w_mask": brain > 0.5}
    maps |= {"WM": brain * white, "CSF": brain * fluid, "GM": brain * (1 - white - fluid)}
    for name, values in maps.items():
        save_image(folder / f"{name}.nii.gz", values.reshape(FINE_SHAPE), FINE)


def test_the_scan_is_brought_onto_the_t1w_image(tmp_path):
    save_t1w(tmp_path)
    b0 = tissue(world_grid())[0].reshape(SHAPE)
    brain, white, _ = (part.reshape(SHAPE) for part in fractions(world_grid()))
    save_image(tmp_path / "dwi.nii.gz", np.stack([b0, 0.4 * b0], axis=-1), AFFINE)
    save_image(tmp_path / "mask.nii.gz", brain > 0.5, AFFINE)
    bval, bvec = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
    write_gradients(GradientTable(np.array([0, 1000.0]), np.array([[0, 0, 0], [1.0, 0, 0]])), bval, bvec)
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("mask", "t1w", "t1w_mask")}
    tissues = {label: tmp_path / f"{label}.nii.gz" for label in ("CSF", "GM", "WM")}
    output = {"transform": tmp_path / "x.mat"} | {label: tmp_path / f"dwi_{label}.nii.gz" for label in tissues}
    settings = {"b0_threshold_s_per_mm2": 50}
    align_dwi(tmp_path / "dwi.nii.gz", bval, bvec, **paths, tissues=tissues, settings=settings, output=output)
    corners = np.array([[0, 0, 0], [40, 0, 0], [0, -50, 0], [0, 0, 30]], dtype=float)
    found = load_transform(output["transform"]).points(corners)
    assert np.abs(found - (corners - SHIFT_MM) @ TURN).max() < 1.0  # a quarter of a diffusion voxel
    moved = load_image(output["WM"]).data
    assert np.corrcoef(moved[brain > 0.9], white[brain > 0.9])[0, 1] > 0.95
    assert moved.min() >= 0
    assert moved.max() <= 1
