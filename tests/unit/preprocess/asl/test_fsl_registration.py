"""The FSL engine of the M0 registration, with FSL's programs replaced by strict stand-ins."""

import json

import numpy as np
import pytest
from fixtures.fsl.install import install
from fixtures.fsl.scan import AFFINES, oblique
from fixtures.fsl.stand_in import movement

from scan2map import config, doctor
from scan2map.errors import DataError, SettingError, ToolError
from scan2map.images import Image, load_image, save_image
from scan2map.preprocess.asl.coregister import load_anatomy, register, register_m0_files
from scan2map.preprocess.asl.fsl_registration import register_by_fsl
from scan2map.preprocess.dwi.fsl_files import to_radiological
from scan2map.preprocess.registration import load_transform, resample_isotropic
from scan2map.provenance import sidecar_path
from scan2map.tools import fsl

FSL = config.defaults(config.load_schema("fsl"))["registration"]


def settings(**change) -> dict:
    return {"engine": "fsl", "fsl": FSL | change}


@pytest.fixture
def fsldir(tmp_path, monkeypatch):
    folder = install(tmp_path / "fsl")
    monkeypatch.setenv("FSLDIR", str(folder))
    return folder


@pytest.fixture
def anatomy(ball, tmp_path):
    """The ball as a T1w image of 2 mm voxels: white brighter than grey; files by name."""
    t1w = 1000 * ball.tissues["WM"] + 700 * ball.tissues["GM"] + 300 * ball.tissues["CSF"]
    contents = {"t1w": t1w, "mask": ball.mask} | ball.tissues
    for name, data in contents.items():
        fine = resample_isotropic(Image(data.astype(np.float32), ball.affine), 2.0)
        save_image(tmp_path / f"{name}.nii.gz", fine.data > 0.5 if name == "mask" else fine.data, fine.affine)
    return {name: tmp_path / f"{name}.nii.gz" for name in contents}


def stand_in_motion(image: Image) -> np.ndarray:
    """World motion that the stand-in reports: R^T of FSL's angles about the centre, in stored voxel millimetres."""
    from scipy.spatial.transform import Rotation

    stored, parameters = to_radiological(image), movement(2)[1]
    size = stored.voxel_size_mm
    centre = (np.array(stored.data.shape) - 1) / 2 * size
    in_mm = np.eye(4)
    in_mm[:3, :3] = Rotation.from_euler("xyz", parameters[3:]).as_matrix().T
    in_mm[:3, 3] = parameters[:3] + centre - in_mm[:3, :3] @ centre
    to_world = stored.affine @ np.diag([*(1 / size), 1])
    return to_world @ in_mm @ np.linalg.inv(to_world)


@pytest.mark.parametrize("program", ["epi_reg", "flirt"])
@pytest.mark.parametrize(("moving", "fixed"), [("las", "ras"), ("ras", "las"), ("ras", "ras")])
def test_matrix_becomes_a_world_transform(fsldir, tmp_path, program, moving, fixed):
    rng = np.random.default_rng(0)
    image = Image(rng.random((6, 7, 5)).astype(np.float32), AFFINES[moving])
    brain = Image(
        rng.random((9, 8, 10)).astype(np.float32), oblique(-1 if fixed == "las" else 1) @ np.diag([1, 1, 0.5, 1])
    )
    wm = Image((brain.data > 0.5).astype(np.float32), brain.affine)
    found, facts = register_by_fsl(image, brain, brain, wm, FSL | {"program": program}, beside=tmp_path / "out.mat")
    np.testing.assert_allclose(found.linear, np.linalg.inv(stand_in_motion(brain)), atol=1e-4)
    assert facts["FSLVersion"] == "6.0.7.13"
    assert program in facts["CommandLines"][0]
    assert not list(tmp_path.glob(".fsl-*"))


def test_rule_writes_the_same_files_as_the_embedded_engine(fsldir, anatomy, ball, tmp_path):
    save_image(tmp_path / "m0.nii.gz", ball.m0.astype(np.float32), ball.affine)
    out = {name: tmp_path / f"out_{name}.nii.gz" for name in ("mask", "CSF", "GM", "WM")}
    register_m0_files(
        tmp_path / "m0.nii.gz", anatomy["t1w"], anatomy["mask"], {name: anatomy[name] for name in ball.tissues}, 1,
        settings(), transform=tmp_path / "to.mat", mask=out["mask"], fractions={k: out[k] for k in ball.tissues},
    )  # fmt: skip
    sidecar = json.loads(sidecar_path(tmp_path / "to.mat").read_text())
    assert sidecar["Engine"] == "fsl"
    assert "--wmseg=white.nii.gz --epi=moving.nii.gz --t1=head.nii.gz" in sidecar["CommandLines"][0]
    assert 0 < sidecar["BoundaryCost"] < 0.9
    expected = np.linalg.inv(stand_in_motion(load_image(anatomy["t1w"])))
    np.testing.assert_allclose(load_transform(tmp_path / "to.mat").linear, expected, atol=1e-4)
    assert load_image(out["mask"]).data.sum() > 500


def test_a_registration_that_missed_stops(fsldir, anatomy, ball, tmp_path):
    inverted = Image((1500 - ball.m0 * ball.mask).astype(np.float32), ball.affine)
    loaded = load_anatomy(anatomy["t1w"], anatomy["mask"], {name: anatomy[name] for name in ball.tissues})
    with pytest.raises(DataError, match=r"boundary cost.*embedded"):
        register(inverted, loaded, settings(), 1, beside=tmp_path / "to.mat")


def test_failure_of_the_program_is_told(fsldir, ball, tmp_path):
    brain = Image(ball.m0.astype(np.float32), ball.affine)
    nothing = Image(np.zeros_like(ball.m0), ball.affine)
    with pytest.raises(ToolError, match=r"epi_reg failed.*wmseg"):
        register_by_fsl(brain, brain, brain, nothing, FSL, beside=tmp_path / "to.mat")


@pytest.mark.parametrize(
    ("program", "installed", "missing"),
    [
        ("epi_reg", ("flirt", "fslmaths", "applywarp"), "epi_reg"),
        ("epi_reg", ("epi_reg",), "flirt"),
        ("flirt", (), "flirt"),
    ],
)
def test_missing_programs_stop_before_the_first_job(tmp_path, monkeypatch, program, installed, missing):
    monkeypatch.setattr(doctor, "INTAKE_PROGRAMS", {})
    folder = install(tmp_path / "fsl", programs=installed)
    monkeypatch.setenv("FSLDIR", str(folder))
    asked = config.check_config(
        {"input": {"kind": "phantom"}, "asl": {"registration": {"engine": "fsl"}},
         "fsl": {"registration": {"program": program}}}
    )  # fmt: skip
    with pytest.raises(SettingError, match=f"FSL program {missing} is not"):
        doctor.require_engines(asked)


def test_the_schedule_of_epi_reg_is_asked_for(fsldir):
    (fsldir / "etc" / "flirtsch" / "bbr.sch").unlink()
    asked = {"asl": {"registration": {"engine": "fsl"}}, "fsl": {"registration": FSL}}
    assert fsl.missing_tools(asked) == ["the schedule etc/flirtsch/bbr.sch is not in FSLDIR"]
