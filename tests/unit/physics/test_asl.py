"""Labelling models against numeric integration of the kinetic model and hand-computed values."""

import numpy as np
import pytest
import torch

from scan2map.physics import asl

CBF, ATT, TAU, T1_TISSUE = 60.0, 1.1, 1.8, 1.33


def convolved(arterial, cbf, time_s, tissue_t1_s, partition=0.9, steps=200_001):
    """Buxton's integral ΔM = 2 (f/λ) ∫ c(t') r(t−t') m(t−t') dt' by the trapezoidal rule, M0 = 1."""
    t = np.linspace(0, time_s, steps)
    flow = cbf / 6000
    residue = np.exp(-(time_s - t) * flow / partition) * np.exp(-(time_s - t) / tissue_t1_s)
    return 2 * flow / partition * np.trapezoid(arterial(t) * residue, t)


@pytest.mark.parametrize("pld_s", [-0.5, 0.3, 1.0, 1.8, 3.0])
def test_pcasl_kinetic_model_is_the_convolution(pld_s):
    def arterial(t):
        return 0.85 * np.exp(-ATT / 1.65) * ((t >= ATT) & (t < ATT + TAU))

    expected = convolved(arterial, CBF, TAU + pld_s, T1_TISSUE)
    assert asl.pcasl_difference_kinetic(CBF, ATT, pld_s, TAU, T1_TISSUE) == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("inversion_time_s", [0.4, 0.9, 1.5, 2.5])
def test_pasl_kinetic_model_is_the_convolution(inversion_time_s):
    arrival, bolus = 0.6, 0.7

    def arterial(t):
        return 0.98 * np.exp(-t / 1.65) * ((t >= arrival) & (t < arrival + bolus))

    expected = convolved(arterial, CBF, inversion_time_s, T1_TISSUE)
    value = asl.pasl_difference_kinetic(CBF, arrival, inversion_time_s, bolus, T1_TISSUE)
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_pasl_with_equal_relaxation_is_the_limit_of_unequal_relaxation():
    tissue_t1_s = 1 / (1 / 1.65 - CBF / (6000 * 0.9))  # makes the apparent T1 that of blood
    at, near = (asl.pasl_difference_kinetic(CBF, 0.6, 1.5, 0.7, t1) for t1 in (tissue_t1_s, tissue_t1_s * 1.001))
    assert at == pytest.approx(near, rel=1e-3)
    assert at == pytest.approx(2 * 0.98 * 0.01 / 0.9 * 0.7 * np.exp(-1.5 / 1.65), rel=1e-6)


@pytest.mark.parametrize("pld_s", [0.4, 1.0, 2.0])
def test_consensus_pcasl_is_the_kinetic_model_with_the_t1_of_blood(pld_s):
    tissue_t1_s = 1 / (1 / 1.65 - CBF / (6000 * 0.9))
    expected = asl.pcasl_difference_kinetic(CBF, ATT, pld_s, TAU, tissue_t1_s)
    assert asl.pcasl_difference(CBF, ATT, pld_s, TAU) == pytest.approx(expected, rel=1e-6)


def test_consensus_pcasl_by_hand():
    # 2 · 0.85 · 0.01/0.9 · 1.65 · e^(−1.8/1.65) · (1 − e^(−1.8/1.65)) = 0.018889 · 0.368081
    assert asl.pcasl_difference(60.0, 1.0, 1.8, 1.8) == pytest.approx(0.0069526, rel=1e-4)


def test_no_label_before_it_arrives():
    assert asl.pcasl_difference(CBF, 4.0, 1.0, 1.8) == 0
    assert asl.pcasl_difference_kinetic(CBF, 4.0, 1.0, 1.8, T1_TISSUE) == 0


def test_vsasl_grows_with_the_delay_then_is_bounded_by_the_bolus():
    # 2 · 0.56 · 0.01/0.9 · min(TI, 1.2) · e^(−TI/1.65)
    early, late = asl.vsasl_difference(60.0, 1.2, np.array([0.5, 2.0]))
    assert early == pytest.approx(0.0124444 * 0.5 * 0.738574, rel=1e-4)
    assert late == pytest.approx(0.0124444 * 1.2 * 0.297587, rel=1e-4)


def test_consensus_quantification_inverts_the_forward_model_once_all_label_has_arrived():
    pld = np.array([1.2, 1.8, 2.4])
    difference = 812.0 * asl.pcasl_difference(47.0, 1.1, pld, 1.8, efficiency=0.77)
    recovered = asl.cbf_from_pcasl(difference, 812.0, pld, 1.8, efficiency=0.77)
    assert recovered == pytest.approx(np.full(3, 47.0), rel=1e-6)


def test_consensus_pcasl_quantification_by_hand():
    # Alsop 2015, eq. 1: 6000 · 0.9 · 0.007 · e^(1.8/1.65) / (2 · 0.85 · 1.65 · (1 − e^(−1.8/1.65)))
    assert asl.cbf_from_pcasl(7.0, 1000.0, 1.8, 1.8) == pytest.approx(60.409, rel=1e-3)


def test_consensus_pasl_quantification_by_hand():
    # Alsop 2015, eq. 2: 6000 · 0.9 · 0.01 · e^(1.8/1.65) / (2 · 0.98 · 0.8)
    assert asl.cbf_from_pasl(10.0, 1000.0, 1.8, 0.8) == pytest.approx(102.53, rel=1e-3)


def test_each_suppression_pulse_costs_five_percent():
    assert asl.labelling_efficiency(0.85, 2) == pytest.approx(0.85 * 0.9025)


@pytest.mark.parametrize("model", [asl.pcasl_difference, asl.pcasl_difference_kinetic, asl.vsasl_difference])
def test_torch_and_numpy_agree_and_gradients_flow(model):
    extra = {asl.pcasl_difference: (1.8,), asl.pcasl_difference_kinetic: (1.8, 1.3), asl.vsasl_difference: ()}[model]
    cbf, att, pld = np.array([20.0, 60.0, 90.0]), np.array([0.7, 1.4, 2.2]), np.array([1.0, 1.5, 2.0])
    tensors = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in (cbf, att)]
    value = model(*tensors, torch.tensor(pld), *extra)
    value.sum().backward()
    assert value.detach().numpy() == pytest.approx(model(cbf, att, pld, *extra), rel=1e-12)
    assert all(torch.isfinite(tensor.grad).all() for tensor in tensors)
    assert tensors[0].grad.abs().min() > 0


def test_consensus_vsasl_quantification_inverts_the_forward_model_while_label_arrives():
    difference = 812.0 * asl.vsasl_difference(47.0, 2.0, np.array([1.2, 1.8]), efficiency=0.5)
    recovered = asl.cbf_from_vsasl(difference, 812.0, np.array([1.2, 1.8]), efficiency=0.5)
    assert recovered == pytest.approx(np.full(2, 47.0), rel=1e-6)


def test_consensus_vsasl_quantification_by_hand():
    # 6000 · 0.9 · 0.01 · e^(1.4/1.65) / (2 · 0.56 · 1.4)
    assert asl.cbf_from_vsasl(10.0, 1000.0, 1.4) == pytest.approx(80.45, rel=1e-3)
