"""Perfusion and arrival time: tissue means, ranges, territories."""

import numpy as np
import pytest

from scan2map.phantom.anatomy import build_head, subject_grid
from scan2map.phantom.deformation import draw_warp
from scan2map.phantom.perfusion import (
    TERRITORIES,
    Perfusion,
    build_perfusion,
    mixed_voxel,
    territory_map,
    transit_time_s,
)

DEFORMATION = {
    "mean_scale": 0.92, "scale_sd": 0.03, "amplitude_mm": 3.0, "smoothness_mm": 20.0,
    "fine_amplitude_mm": 1.0, "fine_smoothness_mm": 8.0,
}  # fmt: skip
EXACT = {
    "gm_cbf_ml_100g_min": 65.0, "gm_cbf_sd_ml_100g_min": 0.0,
    "wm_cbf_ml_100g_min": 20.0, "wm_cbf_sd_ml_100g_min": 0.0, "att_sd_s": 0.0,
}  # fmt: skip
GRID = subject_grid(4.0)


@pytest.fixture(scope="module")
def head():
    return build_head(GRID, draw_warp(subject_grid(4.0), DEFORMATION, np.random.default_rng(0)))


def draw(head, settings=EXACT, seed=0):
    gm, wm = head.fractions["gm"], head.fractions["wm"]
    return build_perfusion(GRID, subject_grid(4.0), head.points, gm, wm, settings, np.random.default_rng(seed))


def weighted_mean(values, weight):
    return float((values.astype(float) * weight).sum() / weight.sum())


def test_the_tissue_means_equal_the_settings(head):
    perfusion = draw(head)
    assert weighted_mean(perfusion.gm_cbf, head.fractions["gm"]) == pytest.approx(65, rel=1e-4)
    assert weighted_mean(perfusion.wm_cbf, head.fractions["wm"]) == pytest.approx(20, rel=1e-4)


def test_subjects_differ_by_the_settings_spread(head):
    settings = EXACT | {"gm_cbf_sd_ml_100g_min": 7.0}
    means = [weighted_mean(draw(head, settings, seed).gm_cbf, head.fractions["gm"]) for seed in range(8)]
    assert 2 < np.std(means) < 12
    assert max(abs(mean - 65) for mean in means) <= 14.01


def test_healthy_values_stay_in_the_ranges_of_the_literature(head):
    perfusion = draw(head)
    grey, white = head.fractions["gm"] > 0.9, head.fractions["wm"] > 0.9
    assert 0.8 <= perfusion.gm_att_s[grey].min() <= perfusion.gm_att_s[grey].max() <= 2.2
    assert 1.0 <= perfusion.wm_att_s[white].min() <= perfusion.wm_att_s[white].max() <= 2.5
    assert perfusion.wm_att_s[white].mean() > perfusion.gm_att_s[grey].mean()
    assert np.percentile(perfusion.gm_cbf[grey], [1, 99]) == pytest.approx((65, 65), abs=27)


def test_every_brain_voxel_has_a_territory_and_every_territory_has_voxels(head):
    labels = draw(head).territories
    brain = head.fractions["gm"] + head.fractions["wm"] > 0
    assert (labels[brain] > 0).all()
    assert not labels[~brain].any()
    grey = head.fractions["gm"]
    shares = {name: float(grey[labels == t].sum() / grey.sum()) for name, t in TERRITORIES.items()}
    assert min(shares.values()) > 0.03
    assert shares["MCA_R"] > max(shares["ACA_R"], shares["PCA_R"])


@pytest.mark.parametrize(
    ("place", "point_mm", "territory"),
    [
        ("right medial frontal", (6, 50, 10), "ACA"),
        ("leg area", (6, -30, 64), "ACA"),
        ("insula", (38, 4, 2), "MCA"),
        ("hand area", (38, -24, 56), "MCA"),
        ("Heschl's gyrus", (48, -18, 6), "MCA"),
        ("calcarine cortex", (8, -84, 4), "PCA"),
        ("thalamus", (10, -20, 8), "PCA"),
        ("hippocampus", (26, -28, -12), "PCA"),
        ("cerebellum", (26, -66, -40), "VB"),
        ("pons", (5, -26, -32), "VB"),
    ],
)
def test_territories_of_known_places_on_both_sides(place, point_mm, territory):
    both = np.array([point_mm, point_mm * np.array([-1, 1, 1])], float)
    labels, _ = territory_map(both)
    assert list(labels) == [TERRITORIES[f"{territory}_R"], TERRITORIES[f"{territory}_L"]], place


def test_the_border_distance_vanishes_between_arteries_and_not_at_the_midline():
    line = np.stack([np.linspace(4, 60, 200), np.full(200, 20.0), np.full(200, 40.0)], axis=1)
    labels, border = territory_map(line)
    change = np.flatnonzero(np.diff(labels))
    assert len(change) == 1  # from the anterior to the middle cerebral artery
    assert border[change[0]] < 0.5
    assert territory_map(np.array([[0.0, 40.0, 20.0]]))[1][0] > 5


def test_blood_arrives_later_the_farther_it_travels():
    points = np.array([[30.0, 0, 5], [55.0, -30, 30]])
    early, late = transit_time_s(points, np.full(2, TERRITORIES["MCA_R"]))
    assert late > early + 0.1


def test_the_mixed_voxel_weights_arrival_by_flow():
    one = np.ones(1, np.float32)
    perfusion = Perfusion(60 * one, 20 * one, 1.0 * one, 1.8 * one, one)
    cbf, att = mixed_voxel(perfusion, 0.5 * one, 0.25 * one)
    assert cbf[0] == pytest.approx(0.5 * 60 + 0.25 * 20)
    assert att[0] == pytest.approx((30 * 1.0 + 5 * 1.8) / 35)
    assert mixed_voxel(perfusion, 0 * one, 0 * one) == (0, 0)
