"""The package that ships: proportional to amplitude, better than least squares where noise is strong, picky."""

from pathlib import Path

import pytest
import torch

from scan2map.errors import DataError
from scan2map.systems.asl_quantnet import protocol, session
from scan2map.systems.asl_quantnet.baselines import least_squares
from scan2map.systems.asl_quantnet.scenes import build_scene
from scan2map.training.acquisition import check_acquisition
from scan2map.training.package import load_package

SHIPPED = Path("resources/models/asl_quantnet")


@pytest.fixture(scope="module")
def package():
    return load_package(SHIPPED)


@pytest.fixture(scope="module")
def scorer(package, thumbnail_settings):
    return protocol.Scorer(package.members, {**package.settings, "evaluation": thumbnail_settings["evaluation"]})


@pytest.fixture(scope="module")
def scene(ball_head, scorer):
    return build_scene(ball_head, "ball", scorer.settings)


def test_it_is_an_ensemble_small_enough_for_git(package):
    assert len(package.members) == 3
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 3e6
    assert sum(parameter.numel() for parameter in package.members[0].parameters()) <= 300_000


def test_slope_over_amplitude_is_one_in_both_tissues(scorer, scene):
    with torch.inference_mode():
        rows = list(protocol.linearity(scorer, scene))
    slopes = {one["roi"]: one["value"] for one in rows if one["metric"] == "cbf_slope"}
    assert set(slopes) == {"GM", "WM"}
    assert all(0.95 < slope < 1.05 for slope in slopes.values())
    assert all(one["value"] < 0.05 for one in rows if one["metric"] == "att_change")


def test_tissue_mix_does_not_matter(scorer, scene):
    with torch.inference_mode():
        rows = list(protocol.tissue_mix(scorer, scene))
    assert all(one["value"] < 0.03 for one in rows if one["metric"] == "cbf_shift")


def test_it_beats_least_squares_in_noise(scorer, scene):
    scan = scene.measured(2.0)
    inside = scene.regions()["tissue"]
    with torch.inference_mode():
        found = scorer.predict(scan)
    fitted = least_squares(scan.difference, scan.mask, scan.labelling, scene.delays)
    errors = [protocol.rmse((maps.cbf - scan.cbf)[inside]) for maps in (found, fitted)]
    assert errors[0] < 0.8 * errors[1]
    times = [protocol.rmse((maps.att_s - scan.att_s)[inside]) for maps in (found, fitted)]
    assert times[0] < 0.6 * times[1]


def test_another_acquisition_is_refused(package):
    wanted = session.demands(package.settings)
    assert package.config["acquisition"] == wanted
    found = {
        "pcasl_delays_s": [1.8], "vsasl_delays_s": [], "pcasl_efficiency": 0.69, "vsasl_efficiency": None,
        "blood_t1_s": 1.65, "label_duration_s": 1.8, "delay_offset_s": [0.0, 0.5],
    }  # fmt: skip
    with pytest.raises(DataError, match=r"pcasl_delays_s = \[1.8\]"):
        check_acquisition(package.config["acquisition"], found, package.name)
