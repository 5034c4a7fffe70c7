"""The batched fit against scipy's bounded least squares, known truth, and the Cramér–Rao bound."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from scan2map.errors import SettingError
from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_design import join_designs, label_design
from scan2map.preprocess.asl.fit import (
    AT_BOUND,
    CHUNK_VOXELS,
    OK,
    UNDETERMINED,
    FitOptions,
    fit_kinetic,
)

DELAYS = np.arange(0.5, 3.01, 0.5)
PCASL = label_design("PCASL", DELAYS, 1.8, efficiency=0.85, suppression_pulses=2)
VSASL = label_design("VSASL", DELAYS, efficiency=0.56)
PASL = label_design("PASL", DELAYS, 0.8, efficiency=0.98)
JOINT = join_designs(PCASL, VSASL)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def tissue(count, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform(20, 90, count), random.uniform(0.7, 2.6, count)


def noisy(design, snr, count, seed=1, **model):
    cbf, att = tissue(count)
    signal = kinetics.difference_signals(design, cbf, att, **model)
    sigma = signal.mean() / snr
    noise = np.random.default_rng(seed).normal(0, sigma, signal.shape)
    return (signal + noise).T, sigma, cbf, att


@pytest.mark.parametrize("design", [PCASL, VSASL, PASL, JOINT], ids=["PCASL", "VSASL", "PASL", "joint"])
@pytest.mark.parametrize("model", kinetics.MODELS)
def test_noise_free_signals_give_the_truth(design, model):
    cbf, att = tissue(200)
    signal = kinetics.difference_signals(design, cbf, att, model=model)
    found = fit_kinetic(signal.T, design, FitOptions(model=model))
    # A pulsed bolus that arrives after the last but one delay is seen once: one number for two unknowns.
    seen = att < 2.5 if design is PASL else np.full(200, True)
    np.testing.assert_allclose(found.cbf[seen], cbf[seen], rtol=1e-4)
    np.testing.assert_allclose(found.att_s[seen], att[seen], atol=1e-4)
    assert (found.status[seen] == OK).all()
    assert (found.status[~seen] == UNDETERMINED).all()


@pytest.mark.parametrize("att_s", DELAYS)
def test_transit_time_on_a_kink(att_s):
    signal = kinetics.difference_signals(JOINT, np.array([47.0]), np.array([att_s]))
    found = fit_kinetic(signal.T, JOINT)
    assert (float(found.cbf[0]), float(found.att_s[0])) == (pytest.approx(47, rel=1e-5), pytest.approx(att_s, abs=1e-5))


@pytest.mark.parametrize("model", kinetics.MODELS)
@pytest.mark.parametrize("snr", [1, 5])
def test_no_start_of_scipy_finds_a_lower_cost(model, snr):
    data, *_ = noisy(JOINT, snr, 12, model=model)
    found = fit_kinetic(data, JOINT, FitOptions(model=model))
    for signals, cost in zip(data, found.cost.tolist(), strict=True):

        def residual(parameters, signals=signals):
            return 1e3 * (kinetics.difference_signals(JOINT, *map(np.array, parameters), model=model) - signals)

        bounds = ([0, 0], [250, 4])
        starts = [(40.0, att) for att in (0.4, 0.8, 1.2, 1.6, 2.1, 2.7, 3.4)]
        lowest = min(least_squares(residual, one, bounds=bounds, x_scale=[50, 1]).cost for one in starts)
        assert cost <= 2e-6 * lowest * (1 + 1e-6)


def test_arterial_blood_volume_is_separated_from_perfusion():
    cbf, att = np.array([50.0, 60.0, 40.0]), np.array([1.35, 1.75, 1.15])
    volume = np.array([0.01, 0.0, 0.03])
    options = FitOptions(arterial_component=True)
    signal = kinetics.difference_signals(JOINT, cbf, att)
    signal = signal + volume * kinetics.arterial_responses(JOINT, att - options.arterial_lead_s)
    found = fit_kinetic(signal.T, JOINT, options)
    np.testing.assert_allclose(found.arterial_volume, volume, atol=1e-5)
    np.testing.assert_allclose(found.cbf, cbf, rtol=1e-3)
    ignored = fit_kinetic(signal.T, JOINT)
    assert float(ignored.cbf[2]) > 1.05 * cbf[2]


def test_error_is_the_predicted_standard_deviation_at_high_signal():
    data, sigma, cbf, att = noisy(JOINT, 20, 3000)
    found = fit_kinetic(data, JOINT, FitOptions(noise_sd=float(sigma)))
    for value, true, sd in ((found.cbf, cbf, found.sd_cbf), (found.att_s, att, found.sd_att_s)):
        inside = torch.isfinite(sd)
        z = ((value - torch.tensor(true)) / sd)[inside]
        assert float(z.std()) == pytest.approx(1, abs=0.08)
        assert float(z.mean()) == pytest.approx(0, abs=0.08)


def test_noise_is_estimated_from_the_residual():
    repeated = join_designs(*[JOINT] * 6)
    data, sigma, *_ = noisy(repeated, 3, 400)
    assert float((fit_kinetic(data, repeated).noise_sd ** 2).mean() ** 0.5) == pytest.approx(sigma, rel=0.03)


def test_repeats_are_the_same_problem_as_their_mean_with_weights():
    repeated = join_designs(JOINT, PCASL)
    data, *_ = noisy(repeated, 4, 50)
    merged = np.concatenate([(data[:, :6] + data[:, 12:]) / 2, data[:, 6:12]], axis=1)
    direct = fit_kinetic(data, repeated)
    weighted = fit_kinetic(merged, JOINT, weights=[2.0] * 6 + [1.0] * 6)
    torch.testing.assert_close(direct.cbf, weighted.cbf, rtol=1e-5, atol=1e-3)


def test_delays_of_later_slices():
    cbf, att = tissue(60)
    offset = np.repeat([0.0, 0.4, 0.8], 20)
    signal = kinetics.difference_signals(JOINT, cbf, att, delay_offset_s=offset)
    found = fit_kinetic(signal.T, JOINT, delay_offset_s=offset)
    np.testing.assert_allclose(found.cbf, cbf, rtol=1e-4)
    assert float((fit_kinetic(signal.T, JOINT).cbf[20:] - torch.tensor(cbf[20:])).abs().mean()) > 3


def test_each_volume_has_its_own_slice_order():
    """Repeats that were read at other times are no repeats."""
    repeated = join_designs(JOINT, PCASL)
    cbf, att = tissue(60)
    late = np.repeat([0.0, 0.4, 0.8], 20)
    offset = np.concatenate([np.tile(late, (12, 1)), np.tile(late[::-1], (6, 1))])
    signal = kinetics.difference_signals(repeated, cbf, att, delay_offset_s=offset)
    by_hand = [
        kinetics.difference_signals(one, cbf, att, delay_offset_s=o) for one, o in ((JOINT, late), (PCASL, late[::-1]))
    ]
    np.testing.assert_allclose(signal, np.concatenate(by_hand))
    found = fit_kinetic(signal.T, repeated, delay_offset_s=offset)
    np.testing.assert_allclose(found.cbf, cbf, rtol=1e-4)
    np.testing.assert_allclose(found.att_s, att, atol=1e-3)


def test_slices_are_fitted_as_if_alone():
    """Groups of different delay offset share a batch, each with kinks at its own transit times."""
    data, *_ = noisy(JOINT, 4, 90)
    offset = np.tile([0.0, 1.3, 2.9], 30)
    together = fit_kinetic(data, JOINT, FitOptions(att_bounds_s=(0.0, 2.8)), delay_offset_s=offset)
    for value in np.unique(offset):
        own = offset == value
        alone = fit_kinetic(data[own], JOINT, FitOptions(att_bounds_s=(0.0, 2.8)), delay_offset_s=value)
        torch.testing.assert_close(together.cbf[own], alone.cbf)
        torch.testing.assert_close(together.cost[own], alone.cost)


def test_tissue_t1_of_each_voxel():
    cbf, att = tissue(80)
    t1_s = np.where(np.arange(80) % 2, 1.33, 0.83)
    signal = kinetics.difference_signals(JOINT, cbf, att, model="general_kinetic", tissue_t1_s=t1_s)
    found = fit_kinetic(signal.T, JOINT, FitOptions(model="general_kinetic", tissue_t1_s=t1_s))
    np.testing.assert_allclose(found.cbf, cbf, rtol=1e-4)


def test_bounds_hold_and_are_reported():
    signal = kinetics.difference_signals(JOINT, np.array([90.0, -5.0]), np.array([1.2, 1.2]))
    found = fit_kinetic(signal.T, JOINT, FitOptions(cbf_bounds=(0.0, 70.0)))
    assert found.cbf.tolist() == [70.0, 0.0]
    assert int(found.status[0]) == AT_BOUND


def test_undetermined_transit_time_is_reported():
    signal = kinetics.difference_signals(PCASL, np.array([60.0]), np.array([0.2]))
    found = fit_kinetic(signal.T, PCASL)
    assert (int(found.status[0]), float(found.cbf[0])) == (UNDETERMINED, pytest.approx(60, rel=1e-6))
    assert torch.isinf(found.sd_att_s).all()
    assert (fit_kinetic(np.zeros((1, 12)), JOINT).status == UNDETERMINED).all()


@pytest.mark.parametrize(("att_s", "reported"), [(0.2, 0.5), (3.7, 3.0)])
def test_of_equal_transit_times_the_most_typical_one_is_reported(att_s, reported):
    """VSASL: below the first delay only CBF times ATT is determined, beyond the last one CBF alone."""
    signal = kinetics.difference_signals(VSASL, np.array([80.0]), np.array([att_s]))
    found = fit_kinetic(signal.T, VSASL)
    assert int(found.status[0]) == UNDETERMINED
    assert float(found.att_s[0]) == pytest.approx(reported, abs=1e-4)
    assert float(found.cbf[0]) == pytest.approx(80 * min(att_s / reported, 1), rel=1e-4)


def test_voxels_do_not_depend_on_their_neighbours(monkeypatch):
    monkeypatch.setitem(CHUNK_VOXELS, "cpu", 100)
    data, *_ = noisy(JOINT, 3, 405)
    whole = fit_kinetic(data, JOINT)
    few = fit_kinetic(data[-7:], JOINT)
    torch.testing.assert_close(whole.cbf[-7:], few.cbf, rtol=1e-7, atol=1e-7)
    assert torch.equal(whole.cbf, fit_kinetic(torch.tensor(data), JOINT).cbf)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_finds_what_the_cpu_finds():
    data, *_ = noisy(JOINT, 3, 5000)
    cpu, gpu = (fit_kinetic(data, JOINT, device=device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(gpu.cost.cpu(), cpu.cost, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"difference": np.zeros((3, 5))}, "do not match"),
        ({"weights": [0.0] * 12}, "Weights"),
        ({"options": FitOptions(model="two_compartments")}, "kinetic model"),
        ({"options": FitOptions(cbf_bounds=(10.0, 10.0))}, "Bounds"),
        ({"difference": np.zeros((3, 2)), "design": PCASL.take([0, 0])}, "Fewer different volumes"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(SettingError, match=message):
        fit_kinetic(**{"difference": np.zeros((3, 12)), "design": JOINT} | arguments)


@pytest.mark.parametrize("model", kinetics.MODELS)
def test_prior_of_the_transit_time_gives_the_most_probable_values(model):
    """Against scipy on residuals with one more row: (ATT − μ) σ / s."""
    data, sigma, *_ = noisy(PCASL, 2, 10, model=model)
    mean, sd = 1.4, 0.5
    found = fit_kinetic(data, PCASL, FitOptions(model=model, att_prior_s=(mean, sd), noise_sd=float(sigma)))
    for index, signals in enumerate(data):

        def residual(parameters, signals=signals):
            misfit = kinetics.difference_signals(PCASL, *map(np.array, parameters), model=model) - signals
            return np.append(misfit, (parameters[1] - mean) * sigma / sd) / sigma

        bounds = ([0, 0], [250, 4])
        starts = [(40.0, att) for att in (0.4, 0.9, 1.3, 1.7, 2.2, 3.0)]
        lowest = min(least_squares(residual, one, bounds=bounds, x_scale=[50, 1]).cost for one in starts)
        mine = residual([float(found.cbf[index]), float(found.att_s[index])])
        assert 0.5 * mine @ mine <= lowest * (1 + 1e-6)
    assert torch.isfinite(found.sd_att_s).all()
    assert (found.sd_att_s <= sd).all()


def test_some_voxels_tell_the_noise_of_all(monkeypatch):
    repeated = join_designs(PCASL, PCASL)
    data, *_ = noisy(repeated, 5, 3000)
    options = FitOptions(att_prior_s=(1.5, 0.7))
    everybody = fit_kinetic(data, repeated, options)
    monkeypatch.setattr("scan2map.preprocess.asl.fit.NOISE_VOXELS", 500)
    some = fit_kinetic(data, repeated, options)
    assert len(some.cbf) == 3000
    assert float((some.att_s - everybody.att_s).abs().median()) < 0.01
    alone = fit_kinetic(data[::6], repeated)
    given = fit_kinetic(data, repeated, FitOptions(att_prior_s=(1.5, 0.7), noise_sd=float(alone.noise_sd.median())))
    torch.testing.assert_close(some.att_s, given.att_s)


def test_prior_takes_the_noise_from_the_residuals_where_it_is_not_given():
    repeated = join_designs(*[JOINT] * 4)
    data, sigma, *_ = noisy(repeated, 2, 300)
    given, estimated = (
        fit_kinetic(data, repeated, FitOptions(att_prior_s=(1.4, 0.3), noise_sd=noise))
        for noise in (float(sigma), None)
    )
    assert float(((given.att_s - estimated.att_s).abs() < 0.02).double().mean()) > 0.98
