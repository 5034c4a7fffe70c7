"""Labelling series of the ball: what a consensus reader gets back, slice delays, noise."""

import numpy as np
import pytest

from scan2map.phantom.acquisition import asl
from scan2map.physics.asl import cbf_from_pcasl, labelling_efficiency, vsasl_difference

THREE_D = {"asl": {"slice_duration_s": 0.0}}


def series_of(scan, description):
    return next(one for one in scan.series if one.description == description)


def mean_difference(series, pld_s=None):
    context, delays = np.array(series.asl.context), np.array(series.asl.post_label_delays_s)
    chosen = delays == (delays[0] if pld_s is None else pld_s)
    return sum(
        sign * series.data[..., chosen & (context == name)].mean(-1) for name, sign in (("control", 1), ("label", -1))
    )


def pure(scan, name):
    label = {"gm": "GM", "wm": "WM"}[name]
    return next(one.data for one in scan.images if one.entities == {"label": label}) > 0.999


@pytest.mark.parametrize("slice_duration_s", [0.0, 0.05])
def test_the_consensus_formula_gives_the_true_perfusion_back(make_scanner, slice_duration_s):
    scan = asl.acquire(make_scanner({"asl": {"slice_duration_s": slice_duration_s, "m0_repetition_time_s": 1000.0}}))
    series = series_of(scan, "pcasl_singlepld")
    m0 = series_of(scan, "asl_m0scan").data
    slice_times = np.zeros(m0.shape[2]) if series.slice_times_s is None else series.slice_times_s
    efficiency = labelling_efficiency(0.85, series.asl.background_suppression_pulses)
    cbf = cbf_from_pcasl(mean_difference(series), np.maximum(m0, 1), 1.8 + slice_times, 1.8, efficiency=efficiency)
    truth = next(one.data for one in scan.images if one.suffix == "cbf")
    for name, value in (("gm", 60), ("wm", 20)):
        inside = pure(scan, name)
        assert inside.sum() > 10
        assert truth[inside] == pytest.approx(value, rel=1e-3)
        assert cbf[inside].mean() == pytest.approx(value, rel=2e-3)
        assert cbf[inside] == pytest.approx(value, rel=2e-2)


def test_velocity_selective_series_follows_its_model(make_scanner):
    scan = asl.acquire(make_scanner(THREE_D))
    series = series_of(scan, "vsasl_multipld")
    inside = pure(scan, "wm")
    m0 = 4000 * 0.7 * np.exp(-0.014 / 0.05)
    for delay in (0.5, 2.0):
        expected = m0 * vsasl_difference(20.0, 1.0, delay, efficiency=labelling_efficiency(0.56, 3))
        assert mean_difference(series, delay)[inside] == pytest.approx(expected, rel=1e-2)


def test_volumes_alternate_and_carry_their_delays(make_scanner):
    series = series_of(asl.acquire(make_scanner(THREE_D)), "pcasl_multipld")
    assert series.asl.context == ("control", "label") * 6
    assert series.asl.post_label_delays_s == (0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, 2.5, 2.5, 3.0, 3.0)
    assert series.asl.labelling == "PCASL"
    assert series.is_3d
    assert series.slice_times_s is None


def test_two_dimensional_readout_has_slice_times(make_scanner):
    series = series_of(asl.acquire(make_scanner()), "pcasl_singlepld")
    assert not series.is_3d
    assert np.diff(series.slice_times_s) == pytest.approx(0.038)


def test_static_tissue_is_suppressed_or_recovered(make_scanner):
    suppressed = asl.acquire(make_scanner(THREE_D))
    plain = asl.acquire(
        make_scanner({"asl": {"slice_duration_s": 0.0, "single_delay": {"background_suppression_pulses": 0}}})
    )
    m0 = 4000 * 0.7 * np.exp(-0.014 / 0.05)
    inside = pure(plain, "wm")
    assert series_of(suppressed, "pcasl_singlepld").data[inside, 0] == pytest.approx(0.05 * m0, rel=1e-3)
    recovered = m0 * (1 - np.exp(-4.8 / 0.85))
    assert series_of(plain, "pcasl_singlepld").data[inside, 0] == pytest.approx(recovered, rel=1e-3)


def test_the_calibration_image_is_saturated_by_its_repetition_time(make_scanner):
    scan = asl.acquire(make_scanner({"asl": {"m0_repetition_time_s": 2.0}}))
    expected = 4000 * 0.83 * np.exp(-0.014 / 0.066) * (1 - np.exp(-2.0 / 1.35))
    assert series_of(scan, "asl_m0scan").data[pure(scan, "gm")] == pytest.approx(expected, rel=1e-2)


def test_tissue_decay_lowers_the_signal_of_late_delays(make_scanner):
    consensus = asl.acquire(make_scanner(THREE_D))
    tissue = asl.acquire(make_scanner({"asl": {"slice_duration_s": 0.0, "kinetic_model": "tissue_t1"}}))
    inside = pure(consensus, "wm")
    late = [mean_difference(series_of(scan, "pcasl_multipld"), 3.0)[inside].mean() for scan in (consensus, tissue)]
    assert late[1] < 0.7 * late[0]


def test_noise_per_volume_is_the_grey_matter_difference_over_the_ratio(make_scanner):
    scanner = make_scanner(THREE_D | {"noise": {"enabled": True}})
    scan = asl.acquire(scanner)
    still = asl.acquire(make_scanner(THREE_D))
    signal = mean_difference(series_of(still, "pcasl_singlepld"))[pure(still, "gm")].mean()
    sigma = scan.parameters["pcasl_singlepld"]["noise_sigma"]
    assert sigma == pytest.approx(signal / scanner.settings["asl"]["snr_gm"], rel=0.02)
    noise = series_of(scan, "pcasl_singlepld").data - series_of(still, "pcasl_singlepld").data
    assert noise[pure(still, "wm")].std() == pytest.approx(sigma, rel=0.1)


def test_transit_time_is_that_of_perfused_tissue_at_every_border(make_scanner):
    att = next(one.data for one in asl.acquire(make_scanner()).images if one.suffix == "att")
    assert att[att > 0] == pytest.approx(1.0, rel=1e-4)
