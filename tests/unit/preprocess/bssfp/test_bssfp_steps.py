"""The steps of phase-cycled bSSFP on files, and on a head that has moved."""

import json

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.bssfp import steps
from scan2map.preprocess.registration import Transform, rigid_matrix, save_transform

CYCLES = 12
INCREMENTS = [30 * index for index in range(CYCLES)]
SHAPE = (24, 26, 22)


def smooth_signal(world):
    """Complex cycles of a smooth head around the origin, (…, cycles)."""
    radius = np.linalg.norm(world / [30, 34, 28], axis=-1)
    brain = 1 / (1 + np.exp(8 * (radius - 1))) * (1 + 0.5 * np.exp(-np.sum((world - [8, 4, -6]) ** 2, -1) / 150))
    phase = 0.01 * world[..., 0] - 0.02 * world[..., 2]
    steps_rad = np.radians(INCREMENTS)
    return (brain * np.exp(1j * phase))[..., None] * (1 + 0.3 * np.exp(1j * steps_rad))


def grid_affine(size_mm):
    affine = np.diag([size_mm, size_mm, size_mm, 1.0])
    affine[:3, 3] = -size_mm * (np.array(SHAPE) - 1) / 2
    return affine


def world_of(affine):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def stored(folder, data, *, sidecar, name="01"):
    """Magnitude and 12-bit phase with their sidecars, as the converter leaves them."""
    raw = np.round((np.angle(data) + np.pi) / (2 * np.pi) * 4096) % 4096
    paths = []
    for part, values in (("mag", 1000 * np.abs(data)), ("phase", raw)):
        path = folder / f"sub-{name}_part-{part}_bSSFP.nii.gz"
        save_image(path, values, grid_affine(4.0))
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
        paths.append(path)
    return paths


@pytest.fixture
def scan(tmp_path):
    offsets = np.exp(1j * np.random.default_rng(1).uniform(-3, 3, CYCLES))
    data = smooth_signal(world_of(grid_affine(4.0))) * offsets
    return stored(tmp_path, data, sidecar={"PhaseCycleIncrements_deg": INCREMENTS, "RepetitionTime": 0.0048})


def outputs(folder):
    return {name: str(folder / f"{name}.nii.gz") for name in ("magnitude", "phase", "t1w")} | {
        "transform": str(folder / "bssfp.mat")
    }


def test_preparation_takes_the_constant_phase_away_and_keeps_the_timing(scan, tmp_path):
    output = outputs(tmp_path)
    steps.prepare_bssfp([scan[0]], [scan[1]], {"remove_gibbs": False}, output=output)
    images, facts = steps.load_complex(output["magnitude"], output["phase"])
    wanted = 1000 * smooth_signal(world_of(grid_affine(4.0)))
    wanted *= np.exp(-1j * np.angle(wanted.sum((0, 1, 2))))
    assert np.abs(images.data - wanted).max() < 0.005 * np.abs(wanted).max()
    assert facts == {"PhaseCycleIncrements_deg": INCREMENTS, "RepetitionTime": 0.0048}


def test_two_runs_are_not_mixed(scan, tmp_path):
    with pytest.raises(DataError, match="several bSSFP magnitude"):
        steps.prepare_bssfp([scan[0], scan[0]], [scan[1]], {"remove_gibbs": False}, output=outputs(tmp_path))


@pytest.mark.parametrize("increments", [[], INCREMENTS[:6], [0, 0, *INCREMENTS[2:]]])
def test_phase_cycles_that_do_not_fit_the_volumes_are_refused(tmp_path, increments):
    data = smooth_signal(world_of(grid_affine(4.0)))
    paths = stored(tmp_path, data, sidecar={"PhaseCycleIncrements_deg": increments})
    with pytest.raises(DataError, match="phase cycles"):
        steps.load_complex(*paths)


def test_a_moved_head_comes_back_onto_the_diffusion_grid(scan, tmp_path):
    """The bSSFP head lies where ``moved`` puts it; registration and one interpolation bring it back."""
    moved = rigid_matrix([3.0, -2.0, 1.5], [0.02, -0.03, 0.05])
    affine = grid_affine(4.0)
    at_rest = smooth_signal(world_of(affine))
    there = world_of(affine) @ np.linalg.inv(moved)[:3, :3].T + np.linalg.inv(moved)[:3, 3]
    scan = stored(tmp_path, smooth_signal(there), sidecar={"PhaseCycleIncrements_deg": INCREMENTS}, name="moved")
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("t1", "mask")}
    brain = np.abs(at_rest[..., 0]) > 0.7
    save_image(files["t1"], np.abs(at_rest).mean(-1), affine)
    save_image(files["mask"], brain, affine)
    save_transform(tmp_path / "dwi.mat", Transform())
    output = outputs(tmp_path)
    steps.align_bssfp(*scan, files["t1"], files["mask"], files["mask"], tmp_path / "dwi.mat", 1, output=output)
    found, _ = steps.load_complex(output["magnitude"], output["phase"])
    wanted = steps.on_diffusion_grid(
        Image(1000 * at_rest.astype(np.complex64), affine), load_image(files["mask"]), Transform()
    )
    assert not found.data[~brain].any()
    error = np.abs(found.data - wanted.data)[brain]
    assert np.percentile(error, 95) < 0.04 * np.abs(wanted.data[brain]).mean()
    assert load_image(output["t1w"]).data[brain].min() > 0
