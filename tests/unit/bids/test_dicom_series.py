"""Reading sessions as they come: any layout, broken files, missing slices; the scanner's own files as material."""

import shutil

import numpy as np
import pytest
import tiny_session
from pydicom import dcmread

from scan2map.bids.dicom_files import expected_pixel_bytes, read_folder
from scan2map.bids.dicom_series import find_problem, group_series


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    series = [
        tiny_session.diffusion(10, "dwi_dir-AP", "j-"),
        tiny_session.structural(2, "t1w_mprage"),
        tiny_session.labelled(30, "pcasl_singlepld", "PCASL", (1.8, 1.8)),
    ]
    return tiny_session.write(tmp_path_factory.mktemp("written"), series)


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "session")


def read(folder):
    return group_series(read_folder(folder)[0])


def dwi_file(folder, volume, slice_index):
    number = volume * tiny_session.SHAPE[2] + slice_index + 1
    return folder / "010-dwi_dir-AP" / f"{number:05d}.dcm"


def test_counts_equal_what_was_scanned(folder):
    counts = {series.description: (series.slices, series.volumes) for series in read(folder)}
    assert counts == {"t1w_mprage": (10, 1), "dwi_dir-AP": (6, 8), "pcasl_singlepld": (6, 4)}
    assert [series.number for series in read(folder)] == [2, 10, 30]
    assert not [problem for series in read(folder) if (problem := find_problem(series))]


def test_a_flat_folder_gives_the_same_series(folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(folder.rglob("*.dcm"), reverse=True)):
        shutil.copy(path, flat / f"IM{number:04d}")
    found, expected = read(flat), read(folder)
    assert [(s.number, s.slices, s.volumes) for s in found] == [(s.number, s.slices, s.volumes) for s in expected]
    assert [frame.position_mm for frame in found[1].frames] == [frame.position_mm for frame in expected[1].frames]


def test_comments_stay_with_their_volumes(folder):
    comments = read(folder)[2].volume_comments
    assert [comment.split()[0] for comment in comments] == ["control", "label", "control", "label"]


def test_doubles_are_counted_once(folder):
    shutil.copy(dwi_file(folder, 0, 0), folder / "010-dwi_dir-AP" / "copy.dcm")
    series = read(folder)[1]
    assert (series.doubles, series.volumes, find_problem(series)) == (1, 8, None)


def test_other_files_are_told_apart(folder):
    (folder / "notes.txt").write_text("not an image")
    (folder / "010-dwi_dir-AP" / "bad.dcm").write_bytes(b"\0" * 500)
    files, others = read_folder(folder)
    assert {path.name for path in others} == {"notes.txt", "bad.dcm"}
    assert len(files) == 10 + 48 + 24


@pytest.mark.parametrize("keep_bytes", [-1, -100, 1500])
def test_a_truncated_file_is_found(folder, keep_bytes):
    path = dwi_file(folder, 3, 2)
    path.write_bytes(path.read_bytes()[:keep_bytes])
    problem = find_problem(read(folder)[1])
    assert problem.startswith("1 of 48 DICOM files are truncated")


def test_pixel_bytes_are_those_of_the_file(folder):
    path = dwi_file(folder, 0, 0)
    assert expected_pixel_bytes(dcmread(path)) == len(dcmread(path).PixelData)


@pytest.mark.parametrize("slice_index", [0, 3, 5])
def test_a_slice_missing_in_one_volume_is_found_even_at_the_edge(folder, slice_index):
    dwi_file(folder, 2, slice_index).unlink()
    assert "images are missing: 1 of 48" in find_problem(read(folder)[1])


def test_a_slice_missing_in_every_volume_is_found(folder):
    for volume in range(8):
        dwi_file(folder, volume, 3).unlink()
    assert "a gap between" in find_problem(read(folder)[1])


def test_a_slice_missing_at_the_edge_of_a_single_volume_is_found_by_its_number(folder):
    (folder / "002-t1w_mprage" / "00001.dcm").unlink()
    (folder / "002-t1w_mprage" / "00004.dcm").unlink()
    assert "slices are missing" in find_problem(read(folder)[0])


def head_ct(folder, change):
    """A small CT, each position changed by ``change(height above the lowest slice, position)``."""
    session = tiny_session.write(folder, [tiny_session.structural(50, "ct_head", kind="ct")])
    paths = sorted(session.rglob("*.dcm"))
    lowest = min(float(dcmread(path).ImagePositionPatient[2]) for path in paths)
    for path in paths:
        header = dcmread(path)
        position = np.array(header.ImagePositionPatient, dtype=float)
        header.ImagePositionPatient = [float(f"{v:.4f}") for v in change(position[2] - lowest, position)]
        header.save_as(path)
    return read(session)[0]


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path):
    tilted = head_ct(tmp_path, lambda height, place: np.add(place, [0, height * np.tan(np.radians(17)), 0]))
    assert find_problem(tilted) == "the gantry was tilted by 17 degrees: reconstruct the series without tilt"


def test_slices_of_two_distances_are_refused(tmp_path):
    uneven = head_ct(tmp_path, lambda height, place: np.add(place, [0, 0, 0.4 * max(0.0, height - 10)]))
    assert find_problem(uneven) == "its slices lie 2 to 2.8 mm apart: reconstruct them at one distance"


def test_a_straight_ct_has_no_problem(tmp_path):
    assert find_problem(head_ct(tmp_path, lambda height, place: place)) is None


def test_a_numbering_with_a_stride_is_no_loss(folder):
    for path in (folder / "002-t1w_mprage").glob("*.dcm"):
        header = dcmread(path)
        header.InstanceNumber = 2 * header.InstanceNumber
        header.save_as(path)
    assert find_problem(read(folder)[0]) is None


def test_an_announced_number_of_volumes_is_held_against_the_files(folder):
    for path in (folder / "010-dwi_dir-AP").glob("*.dcm"):
        header = dcmread(path)
        header.NumberOfTemporalPositions = 9
        header.save_as(path)
    assert find_problem(read(folder)[1]) == "the header announces 9 volumes, 8 were found"


def test_enhanced_multi_frame_files_are_read_frame_by_frame(xa30_dir):
    series = {one.number: one for one in group_series(read_folder(xa30_dir / "In" / "25_asl_2d_tra")[0])}[25]
    contexts = [frame.asl_context for frame in series.volume_frames]
    assert (series.slices, series.volumes) == (12, 7)
    assert contexts == ["M_ZERO_SCAN", *["LABEL", "CONTROL"] * 3]
    assert np.ptp(np.diff(sorted(series.images_per_position))) < 0.011  # mm


def test_garbled_values_are_a_problem_of_their_series_alone(folder):
    for path in (folder / "010-dwi_dir-AP").glob("*.dcm"):
        header = dcmread(path)
        header.ImagePositionPatient = [0.0, 0.0]
        header.save_as(path)
    found = {series.number: find_problem(series) for series in read(folder)}
    assert "cannot be understood" in found[10]
    assert (found[2], found[30]) == (None, None)
