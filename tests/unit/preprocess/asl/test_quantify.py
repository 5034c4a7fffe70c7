"""Calibration and quantification by hand, against the kinetic model, and what stops a wrong map."""

from dataclasses import replace

import numpy as np
import pytest

from scan2map import config
from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.physics import asl as physics
from scan2map.preprocess.asl.calibration import calibrate_m0, relaxation_factor, smooth_in_mask
from scan2map.preprocess.asl.quantify import (
    blood_t1,
    consensus_cbf,
    effective_efficiency,
    gate_cbf,
    quantify,
    slice_delays,
)

SETTINGS = config.check_block("asl", {})
CONSTANTS = {"efficiency": 0.85, "blood_t1_s": 1.65, "partition": 0.9}


def series(ball, labelling, **model):
    """Control and label volumes of the ball, noise-free, label arrived."""
    delays = slice_delays(labelling, ball.cbf.shape[2])
    efficiency = effective_efficiency(labelling, None)
    relative = physics.pcasl_difference(ball.cbf, 0.5, delays, labelling.duration_s, efficiency=efficiency, **model)
    label = ball.m0 * (1 - relative)
    return np.stack([ball.m0, label, ball.m0, label], axis=-1)


def test_relaxation_by_hand():
    assert relaxation_factor(2.6, 1.3) == pytest.approx(1 / (1 - np.exp(-2)))
    assert relaxation_factor(5.0, 1.3) == 1
    assert relaxation_factor(None, 1.3) == 1


def test_number_of_the_consensus_paper(pcasl):
    """Alsop et al. 2015, eq. 1 with ΔM/M0 = 0.7 %: 6000·0.9·0.007·e^(1.8/1.65) / (2·0.85·1.65·(1−e^(−1.8/1.65)))."""
    one = np.ones((1, 1, 1))
    by_hand = 6000 * 0.9 * 0.007 * np.exp(1.8 / 1.65) / (2 * 0.85 * 1.65 * (1 - np.exp(-1.8 / 1.65)))
    assert consensus_cbf(0.007 * one, one, pcasl, **CONSTANTS)[0, 0, 0] == pytest.approx(by_hand)
    pulsed = replace(pcasl, kind="PASL", durations_s=(0.7,) * 4)
    by_hand = 6000 * 0.9 * 0.007 * np.exp(1.8 / 1.65) / (2 * 0.85 * 0.7)
    assert consensus_cbf(0.007 * one, one, pulsed, **CONSTANTS)[0, 0, 0] == pytest.approx(by_hand)


def test_later_slices_have_longer_delays(pcasl):
    two_dimensional = replace(pcasl, slice_delays_s=(0.0, 0.1, 0.2))
    assert slice_delays(two_dimensional, 3).ravel() == pytest.approx([1.8, 1.9, 2.0])
    one = np.ones((1, 1, 3))
    ratio = consensus_cbf(one, one, two_dimensional, **CONSTANTS)[0, 0]
    assert ratio / ratio[0] == pytest.approx(np.exp(np.array([0, 0.1, 0.2]) / 1.65))


def test_blood_t1_follows_the_field():
    assert (blood_t1(None, 2.89), blood_t1(None, 1.5), blood_t1(1.7, 3.0)) == (1.65, 1.35, 1.7)
    with pytest.raises(DataError, match="field strength"):
        blood_t1(None, 0.55)


def test_efficiency_setting_sidecar_default(pcasl):
    assert effective_efficiency(pcasl, None) == 0.85
    assert effective_efficiency(replace(pcasl, efficiency=0.7), None) == 0.7
    assert effective_efficiency(replace(pcasl, efficiency=0.7, suppression_pulses=2), 0.9) == pytest.approx(
        0.9 * 0.95**2
    )


@pytest.mark.parametrize("slices", [None, tuple(0.04 * n for n in range(12))])
def test_true_perfusion_is_recovered(ball, pcasl, slices):
    labelling = replace(pcasl, slice_delays_s=slices, suppression_pulses=2)
    found = quantify(series(ball, labelling), Image(ball.m0, ball.affine), ball.mask, ball.tissues, labelling, SETTINGS)
    np.testing.assert_allclose(found.cbf[ball.mask], ball.cbf[ball.mask], rtol=1e-4, atol=1e-3)
    assert not found.cbf[~ball.mask].any()
    assert found.assumptions["LabelingEfficiency"] == pytest.approx(0.85 * 0.95**2, abs=1e-4)


def test_short_m0_repetition_time_and_scale_are_undone(ball, pcasl):
    labelling = replace(pcasl, m0_repetition_time_s=2.0)
    saturated = ball.m0 * (1 - np.exp(-2.0 / 1.3)) / 10
    settings = SETTINGS | {"calibration": SETTINGS["calibration"] | {"m0_scale": 10}}
    found = quantify(
        series(ball, labelling), Image(saturated, ball.affine), ball.mask, ball.tissues, labelling, settings
    )
    np.testing.assert_allclose(found.cbf[ball.mask], ball.cbf[ball.mask], rtol=1e-4, atol=1e-3)


def test_reference_tissue_calibration(ball):
    settings = SETTINGS["calibration"] | {"method": "wm", "readout_decay": "none"}
    m0, partition = calibrate_m0(Image(ball.m0, ball.affine), ball.mask, ball.tissues, settings, 10.0)
    assert (np.unique(m0), partition) == (pytest.approx([700]), 0.82)
    none = ball.tissues | {"WM": 0.5 * ball.tissues["WM"]}
    with pytest.raises(DataError, match="pure WM"):
        calibrate_m0(Image(ball.m0, ball.affine), ball.mask, none, settings, 10.0)


def test_reference_tissue_by_hand(ball):
    """CSF, TR 4 s, TE 20 ms: median / (1 − e^(−4/4.3)) · e^(20/400 − 20/50)."""
    fluid = {"CSF": ball.mask.astype(float)}
    flat = Image(np.full(ball.m0.shape, 1000.0), ball.affine)
    settings = SETTINGS["calibration"] | {"method": "csf"}
    m0, partition = calibrate_m0(flat, ball.mask, fluid, settings, 4.0, 0.02)
    assert np.unique(m0) == pytest.approx([1000 / (1 - np.exp(-4 / 4.3)) * np.exp(0.05 - 0.4)])
    assert partition == 1.15
    with pytest.raises(DataError, match="echo time"):
        calibrate_m0(flat, ball.mask, fluid, settings, 4.0, None)


def test_smoothing_does_not_leak_from_outside(ball):
    flat = np.where(ball.mask, 500.0, 0.0)
    smooth = smooth_in_mask(Image(flat, ball.affine), ball.mask, 10.0)
    np.testing.assert_allclose(smooth[ball.mask], 500, rtol=1e-3)
    rough = flat + np.random.default_rng(0).normal(0, 50, flat.shape)
    assert smooth_in_mask(Image(rough, ball.affine), ball.mask, 10.0)[ball.mask].std() < 25


def test_several_delays_have_no_single_delay_formula(ball, pcasl):
    several = replace(pcasl, delays_s=(1.0, 1.0, 2.0, 2.0))
    with pytest.raises(DataError, match="several delays"):
        quantify(series(ball, pcasl), Image(ball.m0, ball.affine), ball.mask, ball.tissues, several, SETTINGS)


def test_gate_lets_living_tissue_pass(ball):
    assert gate_cbf(ball.cbf, ball.mask, ball.tissues) == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(lambda cbf: 0 * cbf, "constant"), (lambda cbf: 0 * cbf + 50, "constant"), (lambda cbf: -cbf, "not plausible"),
     (lambda cbf: 20 * cbf, "not plausible"), (lambda cbf: cbf / 100, "not plausible"),
     (lambda cbf: np.where(cbf > 50, np.nan, cbf), "not numbers")],
)  # fmt: skip
def test_gate_stops_maps_that_cannot_be_true(ball, wrong, message):
    with pytest.raises(DataError, match=message):
        gate_cbf(wrong(ball.cbf), ball.mask, ball.tissues)
