"""The simulated scanner against dcm2niix: what goes in as a Series comes out as the same image and metadata."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from scipy.spatial.transform import Rotation

from scan2map.errors import DataError
from scan2map.phantom.scanner import Patient, Study, write_series, write_session
from scan2map.phantom.series import AslTiming, Series

SHAPE = (10, 12, 5)  # all different: a swapped axis shows
PATIENT = Patient("001", name="Doe^Jane", birth_date="19700102", sex="F", age_years=50, weight_kg=61.5)
SLICE_TIMES_S = np.array([0.0, 0.5, 0.1, 0.6, 0.2])
READOUT_S = 0.0475


@dataclass
class Converted:
    """What dcm2niix made of one series."""

    image: nib.Nifti1Image
    sidecar: dict
    text: str
    b_values: np.ndarray | None
    b_vectors_world: np.ndarray | None

    def on_grid_of(self, series: Series) -> tuple[np.ndarray, np.ndarray]:
        """Data and affine after undoing the flips of voxel axes that keep every voxel where it is."""
        flips = io_orientation(np.linalg.inv(series.affine) @ self.image.affine)
        affine = self.image.affine @ inv_ornt_aff(flips, self.image.shape[:3])
        return apply_orientation(np.asarray(self.image.dataobj, dtype=np.float64), flips), affine


def _world_vectors(path: Path, affine: np.ndarray) -> np.ndarray:
    """FSL .bvec to world RAS: image axes, the first one flipped when the affine is right-handed."""
    image_axes = np.loadtxt(path).T
    if np.linalg.det(affine[:3, :3]) > 0:
        image_axes = image_axes * [-1, 1, 1]
    return image_axes @ (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)).T


def _read(stem: Path) -> Converted:
    image, text = nib.load(f"{stem}.nii"), Path(f"{stem}.json").read_text()
    bval, bvec = Path(f"{stem}.bval"), Path(f"{stem}.bvec")
    diffusion = (np.loadtxt(bval), _world_vectors(bvec, image.affine)) if bval.exists() else (None, None)
    return Converted(image, json.loads(text), text, *diffusion)


def convert(series: list[Series], folder: Path) -> dict[int, Converted]:
    """Write a session, run dcm2niix on it, and read what came out, by series number."""
    write_session(series, folder / "dicom", PATIENT)
    (folder / "nifti").mkdir()
    command = [dcm2niix.bin, "-b", "y", "-ba", "n", "-z", "n", "-f", "%s", "-o", folder / "nifti", folder / "dicom"]
    subprocess.run(command, check=True, capture_output=True)
    found = {int(path.stem.split("_")[0]): _read(path.with_suffix("")) for path in (folder / "nifti").glob("*.nii")}
    assert sorted(found) == sorted(one.number for one in series)
    return found


def make_affine(angles_deg=(0.0, 0.0, 0.0), voxel_mm=(2.0, 2.5, 3.0), handedness=1) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() @ np.diag(voxel_mm)
    affine[:3, 0] *= handedness
    affine[:3, 3] = affine[:3, :3] @ -(np.array(SHAPE) - 1) / 2 + [3.0, -7.0, 11.0]
    return affine


AFFINES = {
    "axial": make_affine(),
    "axial_las": make_affine(handedness=-1),
    "oblique": make_affine((24.0, -13.0, 8.0)),
    "sagittal": make_affine()[:, [1, 2, 0, 3]],
}


def _magnitude(volumes: int = 0) -> np.ndarray:
    shape = SHAPE + ((volumes,) if volumes else ())
    return np.random.default_rng(7).gamma(2.0, 150.0, shape).astype(np.float32)


def _diffusion_table() -> tuple[np.ndarray, np.ndarray]:
    directions = np.random.default_rng(3).normal(size=(6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[[0, 3]] = 0.0
    return np.array([0.0, 1000.0, 2000.0, 0.0, 3000.0, 1000.0]), directions


def _session(affine: np.ndarray) -> list[Series]:
    b_values, b_vectors = _diffusion_table()
    epi = {"is_3d": False, "repetition_time_s": 3.0, "slice_times_s": SLICE_TIMES_S, "total_readout_time_s": READOUT_S}
    phase = np.random.default_rng(5).uniform(-np.pi, np.pi, (*SHAPE, 3))
    hounsfield = np.random.default_rng(6).integers(-1000, 3072, SHAPE).astype(np.float32)
    context = ("m0scan", "control", "label", "control", "label")
    multi_pld = AslTiming("PCASL", context, (0.5, 0.5, 0.5, 1.75, 1.75), label_duration_s=1.45)
    single_pld = AslTiming("PCASL", context, (1.8,) * 5, label_duration_s=1.4)
    velocity = AslTiming("VSASL", context, (1.2,) * 5, label_duration_s=1.6)
    diffusion = {"b_values_s_per_mm2": b_values, "b_vectors": b_vectors, **epi}
    return [
        Series(2, "t1w_mprage", _magnitude(), affine, inversion_time_s=0.9, echo_time_s=0.00298, flip_angle_deg=9.0),
        Series(3, "dwi_dir-AP", _magnitude(6), affine, phase_encoding="j-", echo_time_s=0.08, **diffusion),
        Series(4, "dwi_b0_dir-PA", _magnitude(2), affine, phase_encoding="j", **epi),
        Series(5, "pcasl_singlepld", _magnitude(5), affine, phase_encoding="j-", asl=single_pld, **epi),
        Series(6, "pcasl_multipld", _magnitude(5), affine, phase_encoding="j-", asl=multi_pld, **epi),
        Series(7, "vsasl_multipld", _magnitude(5), affine, phase_encoding="j-", asl=velocity, **epi),
        Series(8, "asl_m0scan", _magnitude(), affine, phase_encoding="j-", **epi),
        Series(9, "bssfp_pc12", _magnitude(3), affine, repetition_time_s=0.0048),
        Series(10, "bssfp_pc12_PHASE", phase, affine, kind="phase", repetition_time_s=0.0048),
        Series(11, "ct_head", hounsfield, affine, kind="ct"),
        Series(12, "lesion_mask", (_magnitude() > 400).astype(np.uint8), affine),
    ]


@pytest.fixture(scope="module", params=list(AFFINES))
def study(request, tmp_path_factory) -> tuple[list[Series], dict[int, Converted]]:
    series = _session(AFFINES[request.param])
    return series, convert(series, tmp_path_factory.mktemp(request.param))


def _named(study, description: str) -> tuple[Series, Converted]:
    series = next(one for one in study[0] if one.description == description)
    return series, study[1][series.number]


def test_every_voxel_stays_where_it_is(study):
    for series in study[0]:
        _, affine = study[1][series.number].on_grid_of(series)
        np.testing.assert_allclose(affine, series.affine, atol=2e-4, err_msg=series.description)


def test_magnitudes_survive_to_half_a_quantum(study):
    for series in (one for one in study[0] if one.kind == "magnitude"):
        data, _ = study[1][series.number].on_grid_of(series)
        quantum = series.data.max() / 65535
        np.testing.assert_allclose(data, series.data, atol=0.51 * quantum, err_msg=series.description)


def test_volume_order_is_kept(study):
    series, converted = _named(study, "dwi_dir-AP")
    data, _ = converted.on_grid_of(series)
    assert data.shape == series.data.shape
    distances = np.abs(data[..., :, None] - series.data[..., None, :]).mean((0, 1, 2))
    assert distances.argmin(axis=0).tolist() == list(range(6))


def test_whole_numbers_are_exact(study):
    series, converted = _named(study, "lesion_mask")
    np.testing.assert_array_equal(converted.on_grid_of(series)[0], series.data)


def test_hounsfield_units_are_exact(study):
    series, converted = _named(study, "ct_head")
    np.testing.assert_array_equal(converted.on_grid_of(series)[0], series.data)


def test_phase_in_levels_of_pi_over_4096(study):
    series, converted = _named(study, "bssfp_pc12_PHASE")
    radians = converted.on_grid_of(series)[0] * np.pi / 4096
    error = np.angle(np.exp(1j * (radians - series.data)))
    assert np.abs(error).max() <= np.pi / 4096 * 1.001
    assert "PHASE" in converted.sidecar["ImageType"]


def test_b_values_and_directions(study):
    series, converted = _named(study, "dwi_dir-AP")
    np.testing.assert_array_equal(converted.b_values, series.b_values_s_per_mm2)
    np.testing.assert_allclose(converted.b_vectors_world, series.b_vectors, atol=1e-4)


@pytest.mark.parametrize(("description", "direction"), [("dwi_dir-AP", "j-"), ("dwi_b0_dir-PA", "j")])
def test_phase_encoding_and_readout_time(study, description, direction):
    series, converted = _named(study, description)
    assert converted.sidecar["PhaseEncodingDirection"] == direction
    assert converted.sidecar["TotalReadoutTime"] == pytest.approx(READOUT_S, rel=1e-5)
    # The sign speaks about the image's second axis: it must run the way it did in the series.
    assert converted.image.affine[:3, 1] @ series.affine[:3, 1] > 0


def test_single_volume_epi_keeps_its_phase_encoding_axis(study):
    series, converted = _named(study, "asl_m0scan")
    assert converted.sidecar["PhaseEncodingDirection"] == "j-"
    assert converted.image.affine[:3, 1] @ series.affine[:3, 1] > 0


def test_slice_times(study):
    for description in ("dwi_dir-AP", "pcasl_singlepld", "asl_m0scan"):
        series, converted = _named(study, description)
        same_order = converted.image.affine[:3, 2] @ series.affine[:3, 2] > 0
        expected = SLICE_TIMES_S if same_order else SLICE_TIMES_S[::-1]
        np.testing.assert_allclose(converted.sidecar["SliceTiming"], expected, atol=1e-3)


def test_sequence_times(study):
    sidecar = _named(study, "t1w_mprage")[1].sidecar
    assert (sidecar["InversionTime"], sidecar["EchoTime"], sidecar["FlipAngle"]) == (0.9, 0.00298, 9)
    assert _named(study, "dwi_dir-AP")[1].sidecar["RepetitionTime"] == 3
    assert _named(study, "bssfp_pc12")[1].sidecar["RepetitionTime"] == pytest.approx(0.0048)


@pytest.mark.parametrize("description", ["pcasl_singlepld", "pcasl_multipld", "vsasl_multipld"])
def test_labelling_times(study, description):
    series, converted = _named(study, description)
    assert converted.sidecar["LabelingDuration"] == pytest.approx(series.asl.label_duration_s)
    assert converted.sidecar["PostLabelingDelay"] == pytest.approx(series.asl.post_label_delays_s[0])
    assert converted.text.count("PostLabelingDelay") == 1  # dcm2niix writes it twice when two elements disagree
    assert (converted.sidecar.get("ArterialSpinLabelingType") == "PCASL") == (series.asl.labelling == "PCASL")


def test_the_made_up_person_is_in_the_headers(study):
    sidecar = _named(study, "t1w_mprage")[1].sidecar
    assert (sidecar["PatientName"], sidecar["PatientID"]) == ("Doe^Jane", "001")
    assert (sidecar["PatientBirthDate"], sidecar["PatientSex"]) == ("1970-01-02", "F")
    assert (sidecar["PatientAge"], sidecar["PatientWeight"]) == (50, 61.5)


@given(
    angles_deg=st.tuples(*[st.floats(-180, 180)] * 3),
    voxel_mm=st.tuples(*[st.floats(0.4, 6.0)] * 3),
    handedness=st.sampled_from([-1, 1]),
    direction=st.sampled_from(["j", "j-"]),
)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_orientation_converts_exactly(tmp_path_factory, angles_deg, voxel_mm, handedness, direction):
    b_values, b_vectors = _diffusion_table()
    series = Series(
        1, "dwi", _magnitude(6), make_affine(angles_deg, voxel_mm, handedness), is_3d=False, phase_encoding=direction,
        total_readout_time_s=READOUT_S, b_values_s_per_mm2=b_values, b_vectors=b_vectors,
    )  # fmt: skip
    converted = convert([series], tmp_path_factory.mktemp("any"))[1]
    data, affine = converted.on_grid_of(series)
    np.testing.assert_allclose(affine, series.affine, atol=1e-3)
    np.testing.assert_allclose(data, series.data, atol=0.51 * series.data.max() / 65535)
    np.testing.assert_allclose(converted.b_vectors_world, b_vectors, atol=2e-3)
    assert converted.sidecar["PhaseEncodingDirection"] == direction
    assert converted.image.affine[:3, 1] @ series.affine[:3, 1] > 0


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.dcm"))}


def test_same_input_same_bytes(tmp_path):
    series = _session(AFFINES["oblique"])[:2]
    for name in ("first", "second"):
        write_session(series, tmp_path / name, PATIENT)
    first = _bytes_of(tmp_path / "first")
    assert first == _bytes_of(tmp_path / "second")
    assert len(first) == 5 + 5 * 6
    assert min(first) == "002-t1w_mprage/00001.dcm"


def test_identifiers_are_unique_and_depend_on_subject_and_session(tmp_path):
    series = _session(AFFINES["axial"])[0]
    visits = {"a": Study(PATIENT), "b": Study(PATIENT, session="02"), "c": Study(replace(PATIENT, identifier="002"))}
    instances = set()
    for name, visit in visits.items():
        folder = write_series(series, tmp_path / name, visit)
        headers = [pydicom.dcmread(path) for path in folder.iterdir()]
        assert len({header.SeriesInstanceUID for header in headers}) == 1
        instances |= {header.SOPInstanceUID for header in headers}
    assert len(instances) == 3 * SHAPE[2]
    assert all(uid.is_valid for uid in instances)


def test_files_are_valid_dicom(tmp_path):
    folder = write_series(_session(AFFINES["oblique"])[1], tmp_path, Study(PATIENT))
    path = folder / "00007.dcm"
    header = pydicom.dcmread(path)
    assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    assert (header.Rows, header.Columns) == (SHAPE[1], SHAPE[0])
    assert header.pixel_array.max() > 0
    tags = [element.tag for element in header]
    assert tags == sorted(tags)
    again = tmp_path / "again.dcm"
    header.save_as(again, enforce_file_format=True)  # pydicom's own writer, element by element
    assert again.read_bytes() == path.read_bytes()


def test_standard_axial_orientation(tmp_path):
    folder = write_series(_session(AFFINES["axial"])[0], tmp_path, Study(PATIENT))
    assert [float(x) for x in pydicom.dcmread(folder / "00001.dcm").ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]


def test_a_rewritten_series_replaces_the_old_one(tmp_path):
    series = _session(AFFINES["axial"])[1]
    write_series(series, tmp_path, Study(PATIENT))
    shorter = replace(series, data=series.data[..., :2], b_values_s_per_mm2=None, b_vectors=None)
    folder = write_series(shorter, tmp_path, Study(PATIENT))
    assert len(list(folder.iterdir())) == 2 * SHAPE[2]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


SHEARED = np.array([[2, 0.5, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b_values_s_per_mm2": np.zeros(5)}, "b_values_s_per_mm2 does not fit.*found: 5.*allowed: 6"),
        ({"b_vectors": None}, "come together"),
        ({"slice_times_s": np.zeros(4)}, "slice_times_s does not fit"),
        ({"total_readout_time_s": 0.0}, "no total readout time"),
        ({"phase_encoding": "AP"}, "unknown phase encoding"),
        ({"kind": "real"}, "unknown kind"),
        ({"data": np.full((*SHAPE, 6), np.nan)}, "not numbers"),
        ({"data": np.full((*SHAPE, 6), -1.0)}, "negative"),
        ({"affine": SHEARED}, "right angles"),
    ],
)
def test_a_series_that_contradicts_itself_is_refused(tmp_path, change, message):
    series = replace(_session(AFFINES["axial"])[1], **change)
    with pytest.raises(DataError, match=message):
        write_series(series, tmp_path, Study(PATIENT))


def test_two_series_with_one_number_are_refused(tmp_path):
    series = _session(AFFINES["axial"])[0]
    with pytest.raises(DataError, match="share a number"):
        write_session([series, series], tmp_path, PATIENT)
