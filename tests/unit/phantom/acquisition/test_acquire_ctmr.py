"""CT, FLAIR, ADC map and lesion mask of the ball."""

import numpy as np
import pytest
from nested_balls import HOUNSFIELD, build_ball

from scan2map.phantom.acquisition import ctmr


def by_name(scan):
    return {one.description: one for one in scan.series}


def middle(image):
    return image[tuple(n // 2 for n in image.shape)]


def test_ct_is_in_hounsfield_units_with_air_around(make_scanner):
    settings = {"ctmr": {"ct": {"field_of_view_mm": [180, 180, 180]}}}
    data = by_name(ctmr.acquire(make_scanner(settings)))["ct_head"].data
    assert middle(data) == HOUNSFIELD["wm"]
    assert data[0, 0, 0] == -1000  # outside the subject's grid
    assert data.max() > 200
    assert np.array_equal(data, np.round(data))


def test_ct_lies_in_its_own_place(make_scanner):
    same, other = (
        by_name(ctmr.acquire(make_scanner({"ctmr": {"ct": {"offset_mm": offset}}})))["ct_head"].data
        for offset in (0, 8)
    )
    assert np.abs(same - other).max() > 100


def test_ct_noise(make_scanner):
    settings = {"noise": {"enabled": True}, "ctmr": {"ct": {"noise_hu": 10.0}}}
    data = by_name(ctmr.acquire(make_scanner(settings)))["ct_head"].data
    box = tuple(slice(n // 2 - 2, n // 2 + 2) for n in data.shape)
    assert data[box].std() == pytest.approx(10, rel=0.4)
    assert data[box].mean() == pytest.approx(HOUNSFIELD["wm"], abs=5)


def test_adc_is_the_mean_diffusivity(make_scanner):
    data = by_name(ctmr.acquire(make_scanner()))["adc_map"].data
    assert middle(data) == pytest.approx(800, rel=1e-3)  # (1.6 + 2 · 0.4) / 3 · 1000 in 1e-6 mm²/s
    assert data[data.shape[0] // 2 + 4, data.shape[1] // 2, data.shape[2] // 2] == pytest.approx(800, rel=2e-2)
    assert data[0, 0, 0] == 0


def test_flair_suppresses_fluid(make_scanner):
    series = by_name(ctmr.acquire(make_scanner()))["flair_3d"]
    line = series.data[series.data.shape[0] // 2 :, series.data.shape[1] // 2, series.data.shape[2] // 2]
    assert line[4] > line[0] > 5 * line[1:].min()
    assert series.inversion_time_s == 2.5


def test_the_expert_draws_the_lesion_and_nothing_where_there_is_none(make_scanner):
    with_lesion = make_scanner(subject=build_ball(lesion=True))
    mask = by_name(ctmr.acquire(with_lesion))["lesion_mask"].data
    assert not by_name(ctmr.acquire(make_scanner()))["lesion_mask"].data.any()
    assert set(np.unique(mask)) == {0, 1000}
    volume_mm3 = (mask > 0).sum() * 216
    assert volume_mm3 == pytest.approx(with_lesion.subject.fractions["lesion"].sum() * 27, rel=0.3)
