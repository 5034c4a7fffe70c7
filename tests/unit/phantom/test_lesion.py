"""The lesion: size, place, change of flow; and refusals."""

import numpy as np
import pytest

from scan2map.phantom.anatomy import subject_grid
from scan2map.phantom.deformation import draw_warp
from scan2map.phantom.lesion import change_perfusion, draw_lesion, lesion_share, replace_tissue

SETTINGS = {
    "probability": 1.0, "position_mm": [28.0, -20.0, 30.0], "radius_mm": 10.0, "radius_log_sd": 0.0,
    "penumbra_mm": 0.0, "cbf_factor": 0.3, "att_delay_s": 1.0, "t1_factor": 1.2, "t2_factor": 1.6,
    "diffusivity_mm2_s": 5e-4, "hounsfield_change": -6.0,
}  # fmt: skip
DEFORMATION = {
    "mean_scale": 0.92, "scale_sd": 0.03, "amplitude_mm": 3.0, "smoothness_mm": 20.0,
    "fine_amplitude_mm": 1.0, "fine_smoothness_mm": 8.0,
}  # fmt: skip
GRID = subject_grid(4.0)


@pytest.fixture(scope="module")
def warp():
    return draw_warp(subject_grid(4.0), DEFORMATION, np.random.default_rng(0))


def draw(seed=0, **changes):
    return draw_lesion(SETTINGS | changes, np.random.default_rng(seed))


def test_no_lesion_at_probability_zero_and_always_one_at_one():
    assert all(draw(seed, probability=0.0) is None for seed in range(20))
    assert all(draw(seed) is not None for seed in range(20))


def test_a_share_of_subjects_has_the_lesion():
    count = sum(draw(seed, probability=0.3) is not None for seed in range(300))
    assert 60 < count < 120


def test_a_free_lesion_lies_in_either_hemisphere_of_the_middle_cerebral_artery():
    places = np.array([draw(seed, position_mm=None).position_mm for seed in range(40)])
    assert (places[:, 0] > 0).any()
    assert (places[:, 0] < 0).any()
    assert np.abs(places[:, 0]).min() >= 24


def test_the_core_has_the_volume_of_its_ball_on_average(warp):
    volumes = [lesion_share(draw(), GRID, warp, np.random.default_rng(s))[0].sum() * 64 for s in range(6)]
    assert np.mean(volumes) == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.2)


def test_the_core_is_centred_where_the_template_point_went(warp):
    core, _ = lesion_share(draw(), GRID, warp, np.random.default_rng(1))
    centre = (GRID.points() * core[..., None]).sum((0, 1, 2)) / core.sum()
    np.testing.assert_allclose(centre, warp.subject_point(SETTINGS["position_mm"]), atol=2.5)


def test_the_penumbra_surrounds_the_core(warp):
    core, penumbra = lesion_share(draw(penumbra_mm=8.0), GRID, warp, np.random.default_rng(1))
    assert (penumbra >= core).all()
    assert penumbra.sum() > 2.5 * core.sum()


def test_tissue_turns_into_lesion_and_csf_stays():
    core = np.array([0.0, 0.5, 1.0], np.float32)
    full = {"csf": 0.2, "gm": 0.3, "wm": 0.5, "lesion": 0.0, "skull": 0.0, "scalp": 0.0}
    before = {name: np.full(3, value, np.float32) for name, value in full.items()}
    after = replace_tissue(before, core)
    np.testing.assert_allclose(after["lesion"], (0, 0.4, 0.8), atol=1e-6)
    np.testing.assert_allclose(after["csf"], 0.2, atol=1e-6)
    np.testing.assert_allclose(sum(after.values()), 1, atol=1e-6)


def test_flow_falls_and_arrives_late_in_the_core_and_half_so_in_the_penumbra():
    core, penumbra = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    cbf, att = change_perfusion(np.full(3, 60.0), np.full(3, 1.2), core, penumbra, draw(penumbra_mm=5.0))
    np.testing.assert_allclose(cbf, (60, 60 * 0.65, 60 * 0.3))
    np.testing.assert_allclose(att, (1.2, 1.7, 2.2), rtol=1e-6)


def test_without_flow_there_is_no_arrival():
    cbf, att = change_perfusion(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1), draw())
    assert cbf[0] == att[0] == 0
