"""The head's anatomy: plausible volumes, closed shells, partial volume."""

import numpy as np
import pytest
from scipy import ndimage

from scan2map.phantom.anatomy import (
    CAVITIES,
    LOWER_MM,
    UPPER_MM,
    air_share,
    build_head,
    head_shells,
    ramp,
    skull_thickness_mm,
    subject_grid,
)
from scan2map.phantom.deformation import draw_warp
from scan2map.phantom.template import load_template

UNDEFORMED = {
    "mean_scale": 1.0, "scale_sd": 0.0, "amplitude_mm": 0.0, "smoothness_mm": 20.0,
    "fine_amplitude_mm": 0.0, "fine_smoothness_mm": 8.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def warp():
    return draw_warp(subject_grid(4.0), UNDEFORMED, np.random.default_rng(0))


@pytest.fixture(scope="module")
def head(warp):
    return build_head(subject_grid(4.0), warp)


def test_the_templates_fractions_are_probabilities():
    template = load_template()
    total = template.csf + template.gm + template.wm
    for share in template[:3]:
        assert share.min() >= -1e-6
    assert np.all((np.abs(total) < 1e-5) | (np.abs(total - 1) < 1e-5))


def test_the_ventricles_are_lined_by_white_matter_not_by_a_film_of_grey():
    template = load_template()
    at = lambda *mm: tuple(np.round(np.array(mm) - template.affine[:3, 3]).astype(int))  # noqa: E731
    column = [template.gm[at(x, -24, 22)] for x in range(20, 30)]  # from the right ventricle's wall outwards
    assert max(column) < 0.3
    assert template.csf[at(12, -24, 19)] > 0.5


def test_the_fractions_are_shares_of_a_voxel(head):
    total = sum(head.fractions.values())
    assert min(share.min() for share in head.fractions.values()) >= 0
    assert total.max() <= 1 + 1e-5
    assert total[0, 0, -1] == 0


def test_the_volumes_are_those_of_the_template(head):
    template = load_template()
    for name in ("gm", "wm"):
        here = float(head.fractions[name].sum()) * 64 / 1000
        assert here == pytest.approx(float(getattr(template, name).sum()) / 1000, rel=0.01)


def test_the_volumes_do_not_depend_on_the_voxel_size(head, warp):
    coarse = build_head(subject_grid(6.0), warp)
    for name in ("csf", "gm", "wm", "skull"):
        volumes = [float(h.fractions[name].sum()) * size**3 for h, size in ((head, 4.0), (coarse, 6.0))]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.03)


def test_csf_is_a_plausible_share_of_the_intracranial_volume(head):
    csf, gm, wm = (float(head.fractions[name].sum()) for name in ("csf", "gm", "wm"))
    assert 0.10 < csf / (csf + gm + wm) < 0.25
    assert 1.1 < gm / wm < 1.8


def test_no_air_touches_the_brain(head):
    brain = sum(head.fractions[name] for name in ("csf", "gm", "wm")) > 0.99
    outside = sum(head.fractions.values()) < 0.3  # bone of 2 mm under a sinus fills half of a 4 mm voxel
    assert not (ndimage.binary_dilation(brain) & outside).any()


def test_the_cranial_vault_is_closed_above_the_skull_base(head):
    bone_or_brain = sum(head.fractions[name] for name in ("csf", "gm", "wm", "skull")) > 0.5
    z_mm = subject_grid(4.0).points()[..., 2]
    brain = (head.fractions["gm"] + head.fractions["wm"] > 0.5) & (z_mm > -40)
    assert not (ndimage.binary_dilation(brain) & ~bone_or_brain & (z_mm > -40)).any()


def test_air_cavities_lie_where_the_sinuses_are(head):
    grid = subject_grid(4.0)
    air = 1 - sum(head.fractions.values())
    for cavity in (c for c in CAVITIES if c.centre_mm[2] > LOWER_MM[2] + 10):
        voxel = tuple(np.round((np.array(cavity.centre_mm) - grid.affine[:3, 3]) / 4).astype(int))
        around = tuple(slice(v - 1, v + 2) for v in voxel)
        assert air[around].max() > 0.35 * cavity.air


def test_air_keeps_away_from_the_brain():
    points = np.array([[[[0.0, 22.0, -40.0]]]], np.float32)
    assert air_share(points, np.array([[[0.0]]], np.float32), 2.0).max() == 0
    assert air_share(points, np.array([[[20.0]]], np.float32), 2.0).max() == pytest.approx(1)


def test_the_skull_is_thick_in_front_and_behind_and_thin_at_the_temples():
    thickness = skull_thickness_mm(np.array([[0, 80, 5], [0, -110, 5], [70, -17, -5], [0, -17, 90]], np.float32))
    np.testing.assert_allclose(thickness, [8.5, 8.5, 4.0, 6.5], atol=0.3)


def test_the_ramp_is_the_share_of_a_voxel_inside_a_plane():
    distance = np.array([-5.0, 0.0, 0.5, 1.0, 9.0])
    np.testing.assert_allclose(ramp(distance, 0.0, 2.0), [1, 0.5, 0.25, 0, 0])


def test_the_shells_are_nested():
    grid = subject_grid(6.0)
    shells = head_shells(grid.points(), 6.0)
    assert (shells.intracranial <= shells.bone).all()
    assert (shells.bone <= shells.head).all()


def test_the_box_holds_the_head_with_air_around(head):
    tissue = sum(head.fractions.values()) > 0.5
    for axis, faces in ((0, (0, -1)), (1, (0, -1)), (2, (-1,))):
        for face in faces:
            assert not np.take(tissue, face, axis=axis).any()
    assert all(low < high for low, high in zip(LOWER_MM, UPPER_MM, strict=True))
