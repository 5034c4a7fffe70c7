"""The FSL engine against a strict stand-in FSLDIR: command lines, input files, and the meaning of what comes back.

Real FSL is not run here. The conventions that matter (sign of eddy's rotations, acquisition parameters) are also held
against files that real FSL read and wrote, where the public xa30 scan and its FSL results are available.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from fixtures.fsl.install import PROGRAMS, install
from fixtures.fsl.scan import (
    AFFINES,
    CASES,
    DIRECTION,
    EXCESS,
    RADIAL,
    SHAPE,
    TENSOR,
    Scan,
    bvec_axes,
    encodings,
    fsl_settings,
    options,
    sidecar,
)
from scipy.spatial.transform import Rotation

from scan2map.errors import DataError, SettingError, ToolError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.dwi import fsl, fsl_files
from scan2map.preprocess.dwi.correct import MOTION_COLUMNS, SLICE_COLUMNS
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_matrix
from scan2map.provenance import write_json


@pytest.fixture
def fsldir(tmp_path, monkeypatch) -> Path:
    folder = install(tmp_path / "fsl", programs=(*PROGRAMS, "eddy_cuda10.2"))
    monkeypatch.setenv("FSLDIR", str(folder))
    return folder


@pytest.fixture
def scan(tmp_path, fsldir) -> Scan:
    return Scan(tmp_path / "scan", AFFINES["ras"], CASES["xa30: both full series"])


class Corrected(NamedTuple):
    """A scan and what TOPUP and eddy made of it."""

    scan: Scan
    topup: dict
    eddy: dict


@pytest.fixture(scope="module", params=list(AFFINES))
def corrected(request, tmp_path_factory) -> Iterator[Corrected]:
    """The scan stored as FSL stores images, and mirrored: results must mean the same."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSLDIR", str(install(folder / "fsl")))
        scan = Scan(folder / "scan", AFFINES[request.param], CASES["xa30: both full series"])
        topup = scan.topup(threads=2)
        yield Corrected(scan, topup, scan.eddy(fieldmap=topup["fieldmap"], threads=2))


# TOPUP


@pytest.mark.parametrize(("case", "stored"), [*((case, "ras") for case in CASES), ("opposed along x", "las")])
def test_topup_writes_the_files_of_the_embedded_engine(tmp_path, fsldir, case, stored):
    affine = AFFINES[stored]
    scan = Scan(tmp_path / "scan", affine, CASES[case])
    output = scan.topup()
    field = load_image(output["fieldmap"])
    np.testing.assert_allclose(field.affine, affine, atol=1e-5)
    # The stand-in's field rises by 2 Hz per voxel along the first axis as FSL stores it.
    expected = np.indices(SHAPE)[0] * 2.0 - 10
    np.testing.assert_allclose(field.data, expected if np.linalg.det(affine) < 0 else expected[::-1])
    directions = len(scan.table.drop_duplicates())
    uncorrected, corrected = load_image(output["uncorrected"]), load_image(output["corrected"])
    assert uncorrected.data.shape == corrected.data.shape == (*SHAPE, directions)
    np.testing.assert_allclose(uncorrected.data[..., 0], scan.image.data[..., 0], rtol=1e-5)
    # The stand-in's applytopup adds 1000 x its row, so this says which row each direction was corrected with.
    added = np.round((corrected.data - uncorrected.data).mean((0, 1, 2)) / 1000)
    assert added.tolist() == list(range(1, directions + 1))
    assert sidecar(output["fieldmap"])["Units"] == "Hz"


def test_topup_command_line(corrected):
    facts = sidecar(corrected.topup["fieldmap"])
    first, *others = facts["CommandLines"]
    assert shlex.split(first)[0] == "topup"
    assert options(first) == {
        "--imain": "b0.nii.gz", "--datain": "acqparams.txt", "--out": "topup", "--fout": "field.nii.gz",
        "--iout": "unwarped.nii.gz", "--logout": "topup.log", "--rbmout": "motion", "--dfout": "warpfield",
        "--jacout": "jac", "--config": "b02b0_1.cnf", "--nthr": "2",
    }  # fmt: skip
    assert [options(command)["--inindex"] for command in others] == ["1", "2"]
    assert all(options(command)["--method"] == "jac" for command in others)
    assert facts["FSLVersion"] == "6.0.7.13"


def test_topup_reads_a_few_volumes_of_each_direction(tmp_path, fsldir):
    table = encodings(("j-", 0.05, 5), ("j", 0.05, 4))
    scan = Scan(tmp_path / "scan", AFFINES["ras"], table)
    save_image(scan.path("epi.nii.gz"), scan.image.data, scan.affine)
    table.to_csv(scan.path("epi.tsv"), sep="\t", index=False)
    output = scan.topup()
    base = output["fieldmap"].with_name(sidecar(output["fieldmap"])["TopupBase"] + "_acqparams.txt")
    np.testing.assert_allclose(np.loadtxt(base), [[0, -1, 0, 0.05]] * 3 + [[0, 1, 0, 0.05]] * 3)
    motion = pd.read_csv(output["motion"], sep="\t")
    assert motion.notna().all(axis=1).tolist() == [True] * 3 + [False] * 2 + [True] * 3 + [False]


def test_topup_motion_maps_the_reference_to_the_volume(corrected):
    motion = pd.read_csv(corrected.topup["motion"], sep="\t").to_numpy()
    stored = fsl_files.to_radiological(corrected.scan.mask)
    np.testing.assert_allclose(motion[0], 0, atol=1e-6)
    expected = world_motion(movement(2)[1], stored)
    np.testing.assert_allclose(world_matrix(motion[1], corrected.scan.mask), expected, atol=1e-5)


@pytest.mark.parametrize("direction", ["j-", "j"])
def test_one_direction_cannot_tell_a_field(tmp_path, fsldir, direction):
    scan = Scan(tmp_path / "scan", AFFINES["ras"], encodings((direction, 0.05, 8)))
    with pytest.raises(DataError, match="different phase encoding"):
        scan.topup()


def test_table_of_another_series_is_refused(scan):
    scan.table.to_csv(scan.path("epi.tsv"), sep="\t", index=False)
    with pytest.raises(DataError, match=r"does not fit its series.*16 rows.*2 volumes"):
        scan.topup()


# Motion conventions: written out here from FSL's definition, independent of the library


def movement(volumes: int) -> np.ndarray:
    return np.arange(volumes)[:, None] * np.array([0.1, -0.2, 0.3, 0.01, -0.02, 0.03])


def world_motion(parameters: np.ndarray, stored: Image) -> np.ndarray:
    """World matrix of six FSL parameters: R^T = Rz(c) Ry(b) Rx(a) about the centre, in voxel millimetres."""
    size = stored.voxel_size_mm
    rotation = Rotation.from_euler("xyz", parameters[3:]).as_matrix().T
    centre = (np.array(stored.data.shape[:3]) - 1) / 2 * size
    in_mm = np.eye(4)
    in_mm[:3, :3], in_mm[:3, 3] = rotation, parameters[:3] + centre - rotation @ centre
    to_world = stored.affine @ np.diag([*(1 / size), 1])
    return to_world @ in_mm @ np.linalg.inv(to_world)


def world_matrix(parameters: np.ndarray, image: Image) -> np.ndarray:
    return rigid_matrix(parameters, grid_centre_mm(image.data.shape, image.affine))


def test_eddy_motion_is_in_world_axes(corrected):
    table = pd.read_csv(corrected.eddy["motion"], sep="\t")
    assert list(table) == list(MOTION_COLUMNS)
    stored = fsl_files.to_radiological(corrected.scan.mask)
    for row, parameters in zip(rigid_columns(table), movement(16), strict=True):
        np.testing.assert_allclose(world_matrix(row, corrected.scan.mask), world_motion(parameters, stored), atol=1e-5)


def rigid_columns(table: pd.DataFrame) -> np.ndarray:
    return table[[f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]].to_numpy()


def test_rotated_b_vectors_turn_with_the_head(corrected):
    scan, output = corrected.scan, corrected.eddy
    rotated = np.loadtxt(output["bvec"]).T @ bvec_axes(scan.affine).T
    motion = rigid_columns(pd.read_csv(output["motion"], sep="\t"))
    for number in np.flatnonzero(scan.b_values):
        head = world_matrix(motion[number], scan.mask)[:3, :3]
        np.testing.assert_allclose(rotated[number], head.T @ scan.directions[number], atol=1e-5)


def test_eddy_field_keeps_its_place_when_the_image_is_mirrored(corrected):
    table = pd.read_csv(corrected.eddy["motion"], sep="\t")
    row = table.iloc[1].filter(like="eddy_")
    position = (np.indices(SHAPE).reshape(3, -1).T - (np.array(SHAPE) - 1) / 2) * corrected.scan.mask.voxel_size_mm
    x, y, z = position.T
    terms = {"x": x, "y": y, "z": z, "xx": x * x, "yy": y * y, "zz": z * z, "xy": x * y, "xz": x * z, "yz": y * z,
             "offset": np.ones_like(x)}  # fmt: skip
    field = sum(row[f"eddy_{name}"] * value for name, value in terms.items()).reshape(SHAPE)
    mirror = -1 if np.linalg.det(corrected.scan.affine) > 0 else 1  # FSL's x of an image that is stored mirrored
    xs = {name: (value * mirror if name.count("x") == 1 else value) for name, value in terms.items()}
    expected = sum(0.5 * (n + 1) * xs[name] for n, name in enumerate(terms)).reshape(SHAPE)
    np.testing.assert_allclose(field, expected, rtol=1e-5, atol=1e-5)


# eddy


def test_eddy_keeps_the_series_and_its_grid(corrected):
    scan, output = corrected.scan, corrected.eddy
    corrected = load_image(output["dwi"])
    np.testing.assert_allclose(corrected.data, scan.image.data, rtol=1e-5)
    np.testing.assert_allclose(corrected.affine, scan.affine, atol=1e-5)
    np.testing.assert_allclose(np.loadtxt(output["bval"]), scan.b_values)


def test_eddy_command_line_after_topup(corrected):
    command = sidecar(corrected.eddy["dwi"])["CommandLines"][0]
    assert shlex.split(command)[0] == "eddy_cpu"
    expected = {
        "--imain": "dwi.nii.gz", "--mask": "mask.nii.gz", "--index": "index.txt", "--acqp": "acqparams.txt",
        "--bvecs": "bvecs", "--bvals": "bvals", "--out": "eddy", "--topup": "topup", "--flm": "quadratic",
        "--slm": "none", "--niter": "5", "--repol": "", "--ol_nstd": "4", "--data_is_shelled": "", "--nthr": "2",
    }  # fmt: skip
    given = options(command)
    assert {name: given[name] for name in expected} == expected
    assert set(given) - set(expected) == {"--ff", "--interp", "--resamp", "--nvoxhp"}


def test_eddy_with_the_field_of_the_embedded_engine(scan):
    save_image(scan.path("field.nii.gz"), np.zeros(SHAPE), scan.affine)
    write_json(scan.path("field.json"), {"SusceptibilityCorrection": "embedded"})
    command = sidecar(scan.eddy(fieldmap=scan.path("field.nii.gz"))["dwi"])["CommandLines"][0]
    assert options(command)["--field"] == "field"
    assert "--topup" not in options(command)


@pytest.mark.parametrize("direction", ["j-", "j"])
def test_eddy_of_one_direction_runs_without_a_field(tmp_path, fsldir, direction):
    scan = Scan(tmp_path / "scan", AFFINES["ras"], encodings((direction, 0.05, 8)))
    save_image(scan.path("zero.nii.gz"), np.zeros(SHAPE), scan.affine)
    write_json(scan.path("zero.json"), {"SusceptibilityCorrection": "none"})
    for fieldmap in (None, scan.path("zero.nii.gz")):
        given = options(sidecar(scan.eddy(fieldmap=fieldmap)["dwi"])["CommandLines"][0])
        assert not {"--topup", "--field"} & set(given)


def test_results_of_topup_that_are_gone_are_named(scan):
    fieldmap = scan.topup()["fieldmap"]
    fieldmap.with_name(sidecar(fieldmap)["TopupBase"] + "_movpar.txt").unlink()
    with pytest.raises(DataError, match=r"result of TOPUP is gone.*_movpar.txt"):
        scan.eddy(fieldmap=fieldmap)


def test_a_volume_unlike_every_row_of_topup_is_refused(scan):
    fieldmap = scan.topup()["fieldmap"]
    scan.table.loc[5, "total_readout_time_s"] = 0.09
    scan.table.to_csv(scan.path("dwi.tsv"), sep="\t", index=False)
    with pytest.raises(DataError, match=r"encoded unlike.*volume 5"):
        scan.eddy(fieldmap=fieldmap)


def test_outliers_are_listed(scan, corrected):
    table = pd.read_csv(corrected.eddy["outliers"], sep="\t")
    assert list(table) == list(SLICE_COLUMNS)
    assert len(table) == 16 * SHAPE[2]
    replaced = table[table.outlier == "yes"]
    assert replaced[["volume", "slice"]].to_numpy().tolist() == [[1, 2], [3, 0]]
    assert (replaced.score == -6.5).all()
    off = scan.eddy(fsl_settings(replace_outliers=False))
    assert (pd.read_csv(off["outliers"], sep="\t").outlier == "no").all()
    assert "--repol" not in options(sidecar(off["dwi"])["CommandLines"][0])


def test_linear_models(scan):
    output = scan.eddy(fsl_settings(first_level_model="linear", second_level_model="linear"))
    eddy = pd.read_csv(output["motion"], sep="\t").filter(like="eddy_").iloc[1]
    assert eddy[["eddy_y", "eddy_z", "eddy_offset"]].tolist() == [1.0, 1.5, 2.0]
    assert (eddy[["eddy_xx", "eddy_yy", "eddy_zz", "eddy_xy", "eddy_xz", "eddy_yz"]] == 0).all()
    given = options(sidecar(output["dwi"])["CommandLines"][0])
    assert (given["--flm"], given["--slm"]) == ("linear", "linear")


def test_the_reference_is_the_first_volume_without_weighting(scan):
    scan.b_values[0], scan.directions[0], scan.b_values[2], scan.directions[2] = 1000, [1, 0, 0], 0, 0
    scan._write()
    assert options(sidecar(scan.eddy()["dwi"])["CommandLines"][0])["--ref_scan_no"] == "2"


def timing(tmp_path, times) -> Path:
    path = tmp_path / f"run-{len(times)}.json"
    write_json(path, {"SliceTiming": times})
    return path


SLICE_TO_VOLUME = {"device": "cuda", "slice_to_volume_order": 6}
INTERLEAVED_S = [0.0, 0.4, 0.1, 0.5, 0.2, 0.6, 0.3]


def test_slice_to_volume_on_cuda(scan, tmp_path):
    path = timing(tmp_path, INTERLEAVED_S)
    output = scan.eddy(fsl_settings(**SLICE_TO_VOLUME, quality_report=True), sidecars=[path, path])
    command = sidecar(output["dwi"])["CommandLines"][0]
    assert shlex.split(command)[0] == "eddy_cuda10.2"
    given = options(command)
    assert (given["--mporder"], given["--s2v_niter"], given["--s2v_lambda"]) == ("6", "5", "1")
    assert given["--slspec"] == "slspec.txt"
    assert "--nthr" not in given
    assert output["report"].is_file()
    assert output["report_figures"].is_file()


def test_slice_to_volume_without_cuda_is_refused(scan, tmp_path):
    path = timing(tmp_path, INTERLEAVED_S)
    with pytest.raises(SettingError, match="Only eddy's CUDA programs"):
        scan.eddy(fsl_settings(slice_to_volume_order=6), sidecars=[path])


@pytest.mark.parametrize(
    ("times", "message"),
    [([0.0] * 6, "0|6 times"), ([], "does not fit"), ([0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0], "different size")],
)
def test_unusable_slice_times_are_refused(scan, tmp_path, times, message):
    with pytest.raises(DataError, match=message):
        scan.eddy(fsl_settings(**SLICE_TO_VOLUME), sidecars=[timing(tmp_path, times)])


def test_slice_to_volume_without_sidecars_is_refused(scan):
    with pytest.raises(DataError, match="needs the sidecars"):
        scan.eddy(fsl_settings(**SLICE_TO_VOLUME))


def test_runs_with_different_slice_order_are_refused(scan, tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    write_json(first, {"SliceTiming": INTERLEAVED_S})
    write_json(second, {"SliceTiming": INTERLEAVED_S[::-1]})
    with pytest.raises(DataError, match="differ in their slice order"):
        scan.eddy(fsl_settings(**SLICE_TO_VOLUME), sidecars=[first, second])


def test_a_failing_program_is_reported_with_its_words(scan, fsldir):
    (fsldir / "bin" / "eddy_cpu").write_text("#!/bin/sh\necho 'no memory left' >&2\nexit 1\n")
    with pytest.raises(ToolError, match=r"eddy_cpu failed.*no memory left"):
        scan.eddy()
    assert not (scan.path("out") / "sub-1_desc-preproc_dwi.nii.gz").exists()


def test_a_program_that_writes_nothing_is_noticed(scan, fsldir):
    (fsldir / "bin" / "eddy_cpu").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(ToolError, match="eddy_cpu"):
        scan.eddy()


def test_the_device_of_the_settings_is_used_or_nothing(scan, fsldir):
    (fsldir / "bin" / "eddy_cuda10.2").unlink()
    with pytest.raises(ToolError, match="no eddy program"):
        scan.eddy(fsl_settings(device="cuda"))


def test_an_older_release_gets_its_threads_through_the_environment(scan, fsldir):
    (fsldir / "etc" / "fslversion").write_text("6.0.5:9e026117\n")
    (fsldir / "bin" / "eddy_openmp").write_text((fsldir / "bin" / "eddy_cpu").read_text().replace("cpu", "openmp"))
    (fsldir / "bin" / "eddy_openmp").chmod(0o755)
    (fsldir / "bin" / "eddy_cpu").unlink()
    command = sidecar(scan.eddy(threads=2)["dwi"])["CommandLines"][0]
    assert shlex.split(command)[0] == "eddy_openmp"
    assert "--nthr" not in options(command)


def test_same_input_same_bytes(scan):
    first = {key: path.read_bytes() for key, path in scan.eddy().items()}
    assert first == {key: path.read_bytes() for key, path in scan.eddy().items()}


# BET and DTIFIT


def test_bet_mask_lies_on_the_image(corrected):
    image = Image(corrected.scan.image.data[..., 0], corrected.scan.affine)
    mask = fsl.run_bet(image, fsl_settings(), beside=corrected.scan.path("out/mask.nii.gz"))
    np.testing.assert_array_equal(mask, corrected.scan.mask.data > 0)


def test_dtifit_maps_are_those_of_the_digital_fibres(corrected):
    output = corrected.scan.dtifit()
    inside = corrected.scan.mask.data > 0
    maps = {name: load_image(path).data[inside] for name, path in output.items()}
    excess = EXCESS[inside]
    np.testing.assert_allclose(maps["tensor"], TENSOR[inside][:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]], atol=1e-8)
    np.testing.assert_allclose(np.abs(maps["direction"] @ DIRECTION), 1, atol=1e-5)
    np.testing.assert_allclose(maps["MD"], RADIAL + excess / 3, rtol=1e-4)
    np.testing.assert_allclose(maps["AD"], RADIAL + excess, rtol=1e-4)
    np.testing.assert_allclose(maps["RD"], RADIAL, rtol=1e-4)
    fa = excess / np.sqrt((RADIAL + excess) ** 2 + 2 * RADIAL**2)  # FA of a cylinder: (l1 - l2) / |l|
    np.testing.assert_allclose(maps["FA"], fa, rtol=1e-4)
    np.testing.assert_allclose(maps["S0"], corrected.scan.image.data[..., 0][inside], rtol=1e-4)
    assert not load_image(output["FA"]).data[~inside].any()


def test_dtifit_command_line(scan):
    command = sidecar(scan.dtifit()["FA"])["CommandLines"][0]
    words = "dtifit -k dwi.nii.gz -o dti -m mask.nii.gz -r bvecs -b bvals --save_tensor --wls"
    assert sorted(shlex.split(command)) == sorted(words.split())


def test_dtifit_takes_the_shells_below_the_limit(scan):
    high = scan.b_values > 0
    scan.b_values[np.flatnonzero(high)[::4]] = 3000
    scan._write()  # the image keeps b = 1000, so these volumes would spoil the fit
    maps = scan.dtifit()
    inside = scan.mask.data > 0
    np.testing.assert_allclose(load_image(maps["MD"]).data[inside], RADIAL + EXCESS[inside] / 3, rtol=1e-4)


def test_kurtosis_needs_two_shells(scan):
    settings = fsl_settings()
    settings["dtifit"]["kurtosis"] = True
    with pytest.raises(DataError, match="two shells"):
        scan.dtifit(settings)
    scan.b_values[np.flatnonzero(scan.b_values)[::2]] = 2000
    scan._write()
    output = scan.dtifit(settings)
    mean_kurtosis = load_image(output["MK"])
    np.testing.assert_allclose(mean_kurtosis.data[scan.mask.data > 0], 0.75)


def test_ordinary_least_squares(scan):
    settings = fsl_settings()
    settings["dtifit"]["weighted"] = False
    assert "--wls" not in sidecar(scan.dtifit(settings)["FA"])["CommandLines"][0]
