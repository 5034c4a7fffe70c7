"""Responses, derivatives and bounds against numerical convolution of the kinetic model, finite differences, algebra."""

import numpy as np
import pytest
import torch

from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_design import LabelDesign, join_designs, label_design

CBF, T1_BLOOD, T1_TISSUE, PARTITION = 60.0, 1.65, 1.33, 0.9
DELAYS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
# kind, duration, and the labelled fraction of the blood that arrives at time t, for transit time a.
ARRIVING = {
    "PCASL": (1.8, lambda t, a: 0.85 * np.exp(-a / T1_BLOOD) * ((t >= a) & (t < a + 1.8))),
    "PASL": (0.7, lambda t, a: 0.98 * np.exp(-t / T1_BLOOD) * ((t >= a) & (t < a + 0.7))),
    "PASL without cut-off": (np.inf, lambda t, a: 0.98 * np.exp(-t / T1_BLOOD) * (t >= a)),
    "VSASL": (np.inf, lambda t, a: 0.56 * np.exp(-t / T1_BLOOD) * (t < a)),
}
EFFICIENCY = {"PCASL": 0.85, "PASL": 0.98, "VSASL": 0.56}


def design_of(case, delays=DELAYS):
    kind = case.split()[0]
    return label_design(kind, delays, ARRIVING[case][0], efficiency=EFFICIENCY[kind])


def joint():
    return join_designs(*(design_of(case) for case in ("VSASL", "PCASL", "PASL")))


def convolved(case, time_s, att_s, loss, steps=400_001):
    """Buxton's integral ΔM/M0 = 2 (f/λ) ∫ c(t') e^(−loss·(t−t')) dt' by the midpoint rule."""
    edges = np.linspace(0, time_s, steps)
    t = (edges[1:] + edges[:-1]) / 2
    delivered = ARRIVING[case][1](t, att_s) * np.exp(-(time_s - t) * loss)
    return 2 * CBF / 6000 / PARTITION * delivered.mean() * time_s


@pytest.mark.parametrize("case", ARRIVING)
@pytest.mark.parametrize("att_s", [0.0, 0.4, 1.3, 2.2, 4.0])
@pytest.mark.parametrize("model", kinetics.MODELS)
def test_signals_are_the_convolution(case, att_s, model):
    loss = 1 / T1_BLOOD if model == "consensus" else 1 / T1_TISSUE + CBF / 6000 / PARTITION
    design = design_of(case)
    found = kinetics.difference_signals(design, CBF, np.array(att_s), model=model, tissue_t1_s=T1_TISSUE)
    start = 1.8 if case == "PCASL" else 0.0
    expected = [convolved(case, delay + start, att_s, loss) for delay in DELAYS]
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=1e-9)


@pytest.mark.parametrize("case", ["PCASL", "PASL"])
def test_arterial_signal_is_the_label_inside_the_artery(case):
    """The artery holds the blood that arrives at this instant: 2 aBV c(t) / λ."""
    arrival = 0.9
    found = kinetics.arterial_responses(design_of(case), np.array(arrival))
    start = 1.8 if case == "PCASL" else 0.0
    expected = [2 / PARTITION * ARRIVING[case][1](delay + start, arrival) for delay in DELAYS]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.count_nonzero(found) in (1, 2)


def test_velocity_selective_labelling_shows_no_artery():
    assert not kinetics.arterial_responses(design_of("VSASL"), np.array(0.2)).any()


def test_no_transit_time_and_no_relaxation_is_the_delivered_volume():
    """Without any loss, ΔM/M0 = 2 α f τ / λ: perfusion times duration."""
    design = label_design("PCASL", [1.0], 1.8, efficiency=1.0, blood_t1_s=1e6)
    assert kinetics.difference_signals(design, 60.0, np.array(0.0)) == pytest.approx(2 * 0.01 * 1.8 / 0.9, rel=1e-5)


def test_label_that_has_not_arrived_gives_nothing():
    assert not kinetics.difference_signals(design_of("PCASL"), CBF, np.array(4.9)).any()
    assert not kinetics.difference_signals(design_of("PASL"), CBF, np.array(3.1)).any()


def test_later_slices_are_read_at_a_longer_delay():
    shifted = kinetics.difference_signals(joint(), CBF, np.array(1.2), delay_offset_s=0.25)
    later = LabelDesign(joint().kinds, joint().delay_s + 0.25, joint().duration_s, joint().efficiency)
    np.testing.assert_allclose(shifted, kinetics.difference_signals(later, CBF, np.array(1.2)), rtol=1e-12)


@pytest.mark.parametrize("model", kinetics.MODELS)
def test_derivatives_are_the_finite_differences(model):
    cbf, att = np.array([60.0, 20.0, 45.0, 5.0]), np.array([1.13, 1.66, 0.41, 2.71])
    signal, by_cbf, by_att = kinetics.signal_jacobian(joint(), cbf, att, model=model)

    def at(cbf, att):
        return kinetics.difference_signals(joint(), cbf, att, model=model)

    np.testing.assert_allclose(signal, at(cbf, att))
    np.testing.assert_allclose(by_cbf, (at(cbf + 1e-4, att) - at(cbf - 1e-4, att)) / 2e-4, atol=1e-10)
    np.testing.assert_allclose(by_att, (at(cbf, att + 1e-6) - at(cbf, att - 1e-6)) / 2e-6, atol=1e-9)


def test_derivatives_are_those_of_automatic_differentiation():
    cbf, att = torch.tensor([60.0, 20.0], dtype=torch.float64), torch.tensor([1.13, 1.66], dtype=torch.float64)
    _, by_cbf, by_att = kinetics.signal_jacobian(joint(), cbf, att, model="general_kinetic")
    for position, analytic in enumerate((by_cbf, by_att)):
        tangents = [torch.ones_like(cbf) if index == position else torch.zeros_like(cbf) for index in (0, 1)]

        def signals(cbf, att):
            return kinetics.difference_signals(joint(), cbf, att, model="general_kinetic")

        _, automatic = torch.func.jvp(signals, (cbf, att), tuple(tangents))
        torch.testing.assert_close(analytic, automatic)


@pytest.mark.parametrize("case", ["PASL", "VSASL"])
def test_almost_equal_relaxation_keeps_its_digits(case):
    """κ = 1/T1b − r crosses zero: value and derivative stay on the parabola through three points."""
    shift = np.array([-2e-3, -1e-5, 0.0, 1e-5, 2e-3])
    found = kinetics.responses(design_of(case), np.full(5, 1.2), 1 / T1_BLOOD + shift)
    for values, slopes in zip(found.value, found.by_rate, strict=True):
        parabola = np.polynomial.Polynomial.fit(shift[[0, 2, 4]], values[[0, 2, 4]], 2)
        np.testing.assert_allclose(values, parabola(shift), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(slopes, parabola.deriv()(shift), rtol=1e-5, atol=1e-12)


def test_bounds_are_the_inverse_fisher_information():
    cbf, att, sigma = 55.0, 1.2, 4e-4
    design = joint()
    arterial = kinetics.arterial_responses(design, np.array(att - 0.3))
    columns = np.stack([*kinetics.signal_jacobian(design, cbf, np.array(att))[1:], arterial], axis=1)
    expected = np.sqrt(np.diag(np.linalg.inv(columns.T @ columns))) * sigma
    found = kinetics.cramer_rao_sd(design, cbf, np.array(att), sigma, arterial_arrival_s=np.array(att - 0.3))
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    # With perfusion alone unknown the bound is sigma over the length of its column.
    assert kinetics.inverse_diagonal([columns[:, 0]])[0] ** 0.5 * sigma == pytest.approx(
        sigma / np.linalg.norm(columns[:, 0])
    )


def test_transit_time_shorter_than_every_delay_is_not_determined_by_pcasl():
    sd_cbf, sd_att = kinetics.cramer_rao_sd(design_of("PCASL"), 60.0, np.array(0.3), 1e-3)
    assert np.isinf(sd_att)
    assert np.isfinite(sd_cbf)
