"""What the FSL engine hands to FSL: acquisition parameters, schedules, slice order; held against a real run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fixtures.fsl.scan import AFFINES, CASES, bvec_axes, encodings

from scan2map.errors import DataError
from scan2map.images import load_image
from scan2map.preprocess.dwi import fsl_files, fsl_results

# Acquisition parameters


@pytest.mark.parametrize("case", list(CASES))
def test_acquisition_parameters_of_a_left_handed_image(case):
    table = CASES[case]
    rows = fsl_files.acquisition_parameters(table, AFFINES["las"])
    vectors = {"j": [0, 1, 0], "j-": [0, -1, 0], "i": [1, 0, 0], "i-": [-1, 0, 0]}
    np.testing.assert_array_equal(rows[:, :3], [vectors[direction] for direction in table.phase_encoding])
    np.testing.assert_array_equal(rows[:, 3], table.total_readout_time_s)


def test_mirroring_the_image_mirrors_phase_encoding_along_x_only():
    left, right = (
        fsl_files.acquisition_parameters(encodings(("i", 0.05, 1), ("j-", 0.05, 1)), AFFINES[name])
        for name in ("las", "ras")
    )
    np.testing.assert_array_equal(right[:, :3], left[:, :3] * [-1, 1, 1])


def test_rows_and_indices_of_several_readout_times():
    parameters = fsl_files.acquisition_parameters(CASES["several readout times"], AFFINES["las"])
    rows = fsl_files.unique_rows(parameters)
    np.testing.assert_allclose(rows, [[0, -1, 0, 0.05], [0, 1, 0, 0.03], [0, -1, 0, 0.08]])
    assert fsl_files.row_indices(parameters, rows).tolist() == [1] * 6 + [2] * 6 + [3] * 4
    assert fsl_files.choose_b0(parameters, 2).tolist() == [0, 1, 6, 7, 12, 13]


def test_rounded_readout_times_are_one_row():
    parameters = fsl_files.acquisition_parameters(encodings(("j", 0.0475693, 1), ("j", 0.04757, 2)), AFFINES["las"])
    rows = fsl_files.unique_rows(parameters)
    np.testing.assert_allclose(rows, [[0, 1, 0, 0.0475693]])
    assert fsl_files.row_indices(parameters, rows).tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="different phase encoding"):
        fsl_files.require_opposed(parameters, "b0.nii.gz")


@pytest.mark.parametrize("readout", [0.0, -0.05, float("nan"), 47.5])
def test_unusable_readout_times_are_refused(readout):
    with pytest.raises(DataError, match="readout time"):
        fsl_files.acquisition_parameters(encodings(("j", readout, 2)), AFFINES["las"])


@pytest.mark.parametrize(("direction", "message"), [("AP", "not known"), ("k", "slice axis"), ("k-", "slice axis")])
def test_unusable_directions_are_refused(direction, message):
    with pytest.raises(DataError, match=message):
        fsl_files.acquisition_parameters(encodings((direction, 0.05, 2)), AFFINES["las"])


# Choice of the schedule


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((72, 72, 39), "b02b0_1.cnf"),  # the matrix of xa30
        ((73, 72, 40), "b02b0_1.cnf"),
        ((72, 72, 38), "b02b0_2.cnf"),
        ((72, 70, 40), "b02b0_2.cnf"),
        ((72, 72, 40), "b02b0_4.cnf"),
    ],
)
def test_schedule_follows_the_matrix(shape, expected):
    assert fsl_files.topup_configuration(shape, "auto") == expected
    assert fsl_files.topup_configuration(shape, "b02b0_1.cnf") == "b02b0_1.cnf"


def test_a_schedule_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"b02b0_2.cnf does not fit.*\(72, 72, 39\).*allowed: b02b0_1.cnf"):
        fsl_files.topup_configuration((72, 72, 39), "b02b0_2.cnf")


def test_slice_groups():
    assert fsl_files.slice_groups([0.0, 0.4, 0.1, 0.5, 0.2, 0.6, 0.3], 7, "x") == [[0], [2], [4], [6], [1], [3], [5]]
    multiband = [0.0, 1.0, 2.0, 0.0001, 1.0, 2.0]  # two slices at a time
    assert fsl_files.slice_groups(multiband, 6, "x") == [[0, 3], [1, 4], [2, 5]]


# Against what real FSL read and wrote for the xa30 scan


@pytest.fixture(scope="module")
def xa30_fsl_dir(xa30_dir) -> Path:
    folder = xa30_dir.parent / "xa30-fsl"
    if not folder.is_dir():
        pytest.skip("results of real FSL on the xa30 scan are absent")
    return folder


@pytest.fixture(scope="module")
def xa30_series(xa30_dir, tmp_path_factory) -> dict[str, Path]:
    dcm2niix = pytest.importorskip("dcm2niix")
    folder = tmp_path_factory.mktemp("xa30")
    for number in ("17", "10"):
        (source,) = (xa30_dir / "In").glob(f"{number}_*")
        subprocess.run([dcm2niix.bin, "-f", number, "-z", "n", "-o", folder, source], check=True, capture_output=True)
    return {number: folder / f"{number}.nii" for number in ("17", "10")}


@pytest.mark.real_data
def test_acquisition_parameters_are_those_that_real_fsl_got(xa30_series, xa30_fsl_dir):
    facts = [json.loads(path.with_suffix(".json").read_text()) for path in xa30_series.values()]
    table = encodings(*((one["PhaseEncodingDirection"], one["TotalReadoutTime"], 21) for one in facts))
    image = load_image(xa30_series["17"])
    rows = fsl_files.unique_rows(fsl_files.acquisition_parameters(table, image.affine))
    np.testing.assert_allclose(rows, np.loadtxt(xa30_fsl_dir / "acq.txt"), atol=1e-6)
    assert fsl_files.topup_configuration(image.data.shape, "auto") == "b02b0_1.cnf"


@pytest.mark.real_data
def test_eddy_rotations_have_the_sign_of_real_eddy(xa30_series, xa30_fsl_dir):
    parameters = np.loadtxt(xa30_fsl_dir / "eddy_parameters.txt")
    rotated = np.loadtxt(xa30_fsl_dir / "eddy_rotated_bvecs.txt").T
    given = np.hstack([np.loadtxt(path.with_suffix(".bvec")) for path in xa30_series.values()]).T
    image = load_image(xa30_series["17"])
    axes = bvec_axes(image.affine)
    weighted = np.linalg.norm(given, axis=1) > 0.5
    head = fsl_results.eddy_matrices(parameters, image)[:, :3, :3]
    in_head = np.einsum("tji,tj->ti", head, given @ axes.T) @ axes
    angle = np.linalg.norm(in_head - rotated, axis=1)[weighted]
    moved = np.linalg.norm(given - rotated, axis=1)[weighted]
    assert angle.max() < 1e-3 * moved.max()
