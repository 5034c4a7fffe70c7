"""The field solver against known fields (see epi_head: an independent scanner), limit cases and bad input."""

import epi_head
import numpy as np
import pytest

from scan2map.config import check_block
from scan2map.errors import DataError
from scan2map.preprocess.dwi.phase_encoding import group_acquisitions, is_opposed
from scan2map.preprocess.dwi.rigid import grid_centre_mm, rigid_parameters
from scan2map.preprocess.dwi.susceptibility import estimate_field

SETTINGS = check_block("fieldmap", {})
COARSE = SETTINGS | {"knot_spacing_mm": 15.0, "iterations": 3}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scan():
    return epi_head.simulate(shift_voxels=4)


@pytest.fixture(scope="module")
def clean():
    return epi_head.simulate(snr=None)


@pytest.fixture(scope="module")
def coarse(clean):
    return solve(clean, COARSE)


def solve(scan, settings=SETTINGS):
    return estimate_field(scan.images, scan.affine, scan.directions, scan.times_s, settings)


def error_voxels(estimate, scan):
    """Error of the displacement in the brain, in voxels at the longest readout time."""
    return ((estimate.field_hz - scan.field_hz) * max(scan.times_s))[scan.brain]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_field_is_found_at_snr_20_and_shifts_of_four_voxels(scan):
    estimate = solve(scan)
    shift = np.abs(scan.field_hz[scan.brain]).max() * max(scan.times_s)
    assert shift == pytest.approx(4, abs=0.01)
    assert rms(error_voxels(estimate, scan)) < 0.1  # the project's target; voxels of 6 mm make it a hard case
    inside = epi_head.interior(scan)
    before, after = scan.images[:, inside], estimate.corrected[:, inside]
    assert np.corrcoef(before)[0, 1] < 0.5
    assert np.corrcoef(after)[0, 1] > 0.9  # what noise leaves


def test_without_noise_the_error_is_a_hundredth_of_the_largest_shift(clean):
    assert rms(error_voxels(solve(clean), clean)) < 0.04


def test_head_motion_between_the_images_is_found_with_the_field():
    moved = epi_head.rigid([1.5, 0.0, -1.0], [1.0, -1.0, 2.0])
    scan = epi_head.simulate(motions=[None, moved])
    estimate = solve(scan)
    expected = rigid_parameters(moved, grid_centre_mm(scan.images.shape[1:], scan.affine))
    assert np.allclose(estimate.motion[0], 0)
    assert np.abs(estimate.motion[1] - expected)[:3].max() < 0.15
    assert np.degrees(np.abs(estimate.motion[1] - expected)[3:].max()) < 0.25
    assert rms(error_voxels(estimate, scan)) < 0.08


def test_translation_along_the_phase_encoding_is_taken_for_a_constant_field():
    """Documented: y motion of 4.8 mm (0.8 voxel) between j- and j is a constant field of 0.4 voxel, and no motion."""
    scan = epi_head.simulate(motions=[None, epi_head.rigid([0.0, 4.8, 0.0], [0.0, 0.0, 0.0])])
    estimate = solve(scan, COARSE)
    assert abs(estimate.motion[1, 1]) < 0.05
    assert error_voxels(estimate, scan).mean() == pytest.approx(0.4, abs=0.05)


def test_a_shimmed_scanner_settles_the_constant_field():
    """The same pair: with the mean field given as zero, the 4.8 mm are found as motion (less what the mean holds)."""
    scan = epi_head.simulate(motions=[None, epi_head.rigid([0.0, 4.8, 0.0], [0.0, 0.0, 0.0])])
    still, shimmed = solve(scan, COARSE), solve(scan, COARSE | {"constant_field": "shimmed"})
    change = (still.field_hz - shimmed.field_hz)[scan.brain].mean() * scan.times_s[0]
    assert abs(shimmed.field_hz[scan.brain].mean()) * scan.times_s[0] < 0.1
    assert shimmed.motion[1, 1] - still.motion[1, 1] == pytest.approx(2 * change * epi_head.VOXEL_MM, rel=0.1)
    assert np.corrcoef(shimmed.corrected[:, scan.brain])[0, 1] > 0.85


@pytest.mark.parametrize(
    ("directions", "times_s"),
    [(("i", "i-"), (0.05, 0.05)), (("j-", "j"), (0.05, 0.03)), (("j", "i-"), (0.05, 0.05))],
)
def test_other_axes_and_unequal_readout_times(directions, times_s):
    scan = epi_head.simulate(directions, times_s, snr=None)
    assert rms(error_voxels(solve(scan, COARSE), scan)) < 0.1


def test_swapped_labels_flip_the_field(clean, coarse):
    straight = coarse.field_hz
    swapped = estimate_field(clean.images, clean.affine, clean.directions[::-1], clean.times_s, COARSE).field_hz
    assert rms((straight + swapped)[clean.brain]) < 0.02 * rms(straight[clean.brain])


def test_without_distortion_there_is_no_field():
    scan = epi_head.simulate(shift_voxels=0)
    assert rms(error_voxels(solve(scan, COARSE), scan)) < 0.05


def test_repeats_are_aligned_and_intensities_matched():
    nod = epi_head.rigid([0.0, 1.0, 1.0], [2.0, 0.0, 0.0])
    scan = epi_head.simulate(
        ("j-", "j-", "j"), (0.05,) * 3, motions=[None, nod, None], gains=[1.0, 1.0, 1.4], shift_voxels=2
    )
    estimate = solve(scan, COARSE)
    expected = rigid_parameters(nod, grid_centre_mm(scan.images.shape[1:], scan.affine))
    assert estimate.groups.tolist() == [0, 0, 1]
    assert estimate.corrected_means.shape == (2, *scan.images.shape[1:])
    assert np.abs(estimate.motion[1] - expected)[:3].max() < 0.3
    assert np.degrees(np.abs(estimate.motion[1] - expected)[3:].max()) < 0.3
    assert estimate.scales[1] == pytest.approx(1 / 1.4, rel=0.01)
    assert rms(error_voxels(estimate, scan)) < 0.1


def test_same_input_same_bytes(clean, coarse):
    first, second = coarse, solve(clean, COARSE)
    assert first.field_hz.tobytes() == second.field_hz.tobytes()
    assert first.corrected.tobytes() == second.corrected.tobytes()


@pytest.mark.parametrize(
    ("directions", "times_s", "groups", "opposed"),
    [
        (("j", "j-", "j"), (0.05, 0.05, 0.05), [0, 1, 0], True),
        (("j", "j"), (0.0475693, 0.04757), [0, 0], False),  # one readout time, rounded
        (("j", "j"), (0.05, 0.047), [0, 1], False),  # too alike to tell a field
        (("j", "j"), (0.05, 0.03), [0, 1], True),
        (("j", "i"), (0.05, 0.05), [0, 1], True),
    ],
)
def test_acquisitions_and_whether_they_tell_a_field(directions, times_s, groups, opposed):
    assert group_acquisitions(directions, times_s).tolist() == groups
    assert is_opposed(directions, times_s) is opposed


TINY = np.random.default_rng(0).random((2, 6, 7, 5)) + 1


@pytest.mark.parametrize("readout", [0, -0.05, None, float("nan"), 47.5, "0.05"])
def test_unusable_readout_time(readout):
    with pytest.raises(DataError, match="readout time"):
        estimate_field(TINY, np.eye(4), ["j", "j-"], [0.05, readout], SETTINGS)


@pytest.mark.parametrize(
    ("images", "directions", "message"),
    [
        (np.where(TINY > 1.9, np.nan, TINY), ["j", "j-"], "not numbers"),
        (TINY * 0, ["j", "j-"], "empty"),
        (TINY, ["j", "j"], "displaced alike"),
        (TINY, ["j", "y-"], "not known"),
        (TINY, ["j"], "per image"),
        (TINY[:1], ["j"], "at least two"),
        ([TINY[0], TINY[1, :-1]], ["j", "j-"], "different grids"),
    ],
)
def test_images_that_cannot_tell_a_field(images, directions, message):
    with pytest.raises(DataError, match=message):
        estimate_field(images, np.eye(4), directions, [0.05] * len(directions), SETTINGS)
