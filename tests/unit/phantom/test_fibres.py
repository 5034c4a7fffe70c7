"""The fibre-orientation field: known tracts at known places, smoothness, reorientation."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scan2map.config import check_block
from scan2map.phantom.anatomy import build_head, subject_grid
from scan2map.phantom.deformation import draw_warp
from scan2map.phantom.fibres import build_fibres, reorient, tract_samples, turn_vectors

UNDEFORMED = {
    "mean_scale": 1.0, "scale_sd": 0.0, "amplitude_mm": 0.0, "smoothness_mm": 20.0,
    "fine_amplitude_mm": 0.0, "fine_smoothness_mm": 8.0,
}  # fmt: skip
GRID = subject_grid(4.0)
RIGHT, FRONT, UP = np.eye(3)


def head_with_fibres(**variation):
    warp = draw_warp(subject_grid(4.0), UNDEFORMED, np.random.default_rng(0))
    head = build_head(GRID, warp)
    brain = head.fractions["gm"] + head.fractions["wm"] > 0
    settings = check_block("phantom_subject", {"fibres": variation})["fibres"]
    return head, build_fibres(GRID, warp, head.points, brain, settings, np.random.default_rng(0))


@pytest.fixture(scope="module")
def head_and_fibres():
    return head_with_fibres()


def voxel_of(*point_mm):
    return tuple(np.round((np.array(point_mm) - GRID.affine[:3, 3]) / 4).astype(int))


@pytest.mark.parametrize(
    ("place", "point_mm", "axis", "most_deg"),
    [
        ("body of the corpus callosum", (0, -6, 26), RIGHT, 15),
        ("genu", (0, 26, 4), RIGHT, 15),
        ("splenium", (0, -38, 14), RIGHT, 15),
        ("posterior limb of the internal capsule", (23, -15, 8), UP, 25),
        ("left corona radiata", (-25, -19, 32), UP, 25),
        ("superior longitudinal fasciculus", (36, -30, 30), FRONT, 30),
        ("cingulum", (9, 0, 36), FRONT, 30),
        ("inferior fronto-occipital fasciculus", (34, 0, -9), FRONT, 25),
        ("left sagittal stratum", (-38, -34, -2), FRONT, 30),
        ("middle cerebellar peduncle at the midline", (0, -20, -34), RIGHT, 25),
    ],
)
def test_tracts_run_as_in_the_anatomy_book(head_and_fibres, place, point_mm, axis, most_deg):
    direction = head_and_fibres[1].direction[voxel_of(*point_mm)]
    angle = np.degrees(np.arccos(min(abs(direction @ axis), 1)))
    assert angle < most_deg, place


def test_directions_are_unit_vectors_and_shares_are_shares(head_and_fibres):
    _, fibres = head_and_fibres
    np.testing.assert_allclose(np.linalg.norm(fibres.direction, axis=-1), 1, atol=1e-5)
    assert fibres.coherence.min() >= 0
    assert fibres.coherence.max() <= 1
    assert fibres.axon_fraction.min() >= 0.5
    assert fibres.axon_fraction.max() <= 0.72


def test_coherent_white_matter_is_smooth(head_and_fibres):
    head, fibres = head_and_fibres
    solid = (head.fractions["wm"] > 0.9) & (fibres.coherence > 0.6)
    angles = []
    for axis in range(3):
        both = solid & np.roll(solid, -1, axis)
        cosine = np.abs((fibres.direction * np.roll(fibres.direction, -1, axis)).sum(-1))
        angles.append(np.degrees(np.arccos(np.clip(cosine[both], 0, 1))))
    assert np.median(np.concatenate(angles)) < 12


def test_the_two_hemispheres_mirror_each_other_without_deformation(head_and_fibres):
    _, fibres = head_and_fibres
    for x, y, z in ((26, -18, 34), (38, -34, -2), (18, 44, 6)):
        right, left = fibres.direction[voxel_of(x, y, z)], fibres.direction[voxel_of(-x, y, z)]
        assert abs(right @ (left * (-1, 1, 1))) > 0.95


def test_a_rotation_turns_directions_with_the_head():
    turn = Rotation.from_euler("xyz", (20, -30, 40), degrees=True).as_matrix()
    direction = np.array([0.6, 0.0, 0.8])
    dyad = np.outer(direction, direction)[None]
    # The map from subject to template undoes the turn.
    turned = reorient(dyad, turn.T[None])
    np.testing.assert_allclose(turned[0], np.outer(turn @ direction, turn @ direction), atol=1e-12)


def test_a_shear_carries_a_fibre_along_its_line():
    shear = np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]])  # template point = shear @ subject point
    along = np.linalg.inv(shear) @ FRONT
    along /= np.linalg.norm(along)
    _, vectors = np.linalg.eigh(reorient(np.outer(FRONT, FRONT)[None], shear[None])[0])
    assert abs(vectors[:, 2] @ along) == pytest.approx(1, abs=1e-12)


def test_tract_tangents_follow_their_points():
    points, tangents, _ = tract_samples()
    steps = np.diff(points, axis=0)
    length = np.linalg.norm(steps, axis=1)
    same = length < 1.5  # within one tract
    cosine = (steps[same] * tangents[:-1][same]).sum(1) / length[same]
    assert cosine.min() > 0.95
    np.testing.assert_allclose(np.linalg.norm(tangents, axis=1), 1, atol=1e-9)


def test_a_subjects_own_course_turns_fibres_by_the_angle_of_its_setting(head_and_fibres):
    """Turns about three axes of standard deviation s: the axis along the fibre does nothing, hence Rayleigh(s)."""
    head, plain = head_and_fibres
    _, own = head_with_fibres(direction_sd_deg=8.0)
    white = head.fractions["wm"] > 0.9
    cosine = np.abs((plain.direction * own.direction).sum(-1))[white]
    assert np.degrees(np.arccos(np.clip(cosine, 0, 1))).mean() == pytest.approx(8 * np.sqrt(np.pi / 2), rel=0.15)
    assert np.array_equal(plain.coherence, own.coherence)
    np.testing.assert_allclose(np.linalg.norm(own.direction, axis=-1), 1, atol=1e-5)


def test_coherence_varies_by_its_setting_and_within_its_limits(head_and_fibres):
    head, plain = head_and_fibres
    _, own = head_with_fibres(coherence_sd=0.1)
    middle = (head.fractions["wm"] > 0.9) & (np.abs(plain.coherence - 0.55) < 0.2)
    assert (own.coherence - plain.coherence)[middle].std() == pytest.approx(0.1, rel=0.3)
    assert own.coherence.min() >= 0.1
    assert own.coherence.max() <= 0.98
    assert np.array_equal(plain.direction, own.direction)


def test_a_quarter_turn_about_up_brings_right_to_front():
    np.testing.assert_allclose(turn_vectors(RIGHT[None], np.pi / 2 * UP[None]), FRONT[None], atol=1e-12)
