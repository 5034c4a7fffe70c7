"""Simulated ASL scans against closed forms, an independent package's formulas, and the statistics of their noise."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from scan2map.phantom.slices import perfusion as perfusion_slices
from scan2map.phantom.slices.perfusion import Perfusion, mixed, seeded
from scan2map.phantom.slices.tissue import TissueSlices, random_tissue, slice_fractions
from scan2map.systems.asl_quantnet import simulator
from scan2map.systems.asl_quantnet.labelling import TISSUE_T1_S, difference_signals, nominal
from scan2map.systems.asl_quantnet.simulator import Slices, add_noise, clean_signals, simulate
from scan2map.training.stream import Samples

LABEL = {"pcasl_efficiency": 0.85, "vsasl_efficiency": 0.56, "blood_t1_s": 1.65, "label_duration_s": 1.8}


def _flat(value, batch=1, size=1):
    return torch.full((batch, 1, size, size), float(value))


def _uniform_slices(size, gm=1.0, wm=0.0, batch=1, **labels):
    fractions = torch.cat([_flat(1 - gm - wm, batch, size), _flat(gm, batch, size), _flat(wm, batch, size)], 1)
    perfusion = Perfusion(*(_flat(value, batch, size) for value in (60, 20, 0, 1.2, 1.6, 1.2)))
    return Slices(perfusion, fractions, _flat(0, batch, size), nominal(LABEL | labels, batch), torch.ones(batch))


def test_signals_equal_the_equations_written_out(delays):
    cbf, att = 60.0, 1.3
    found = difference_signals(_flat(cbf), _flat(att), nominal(LABEL), delays)[0, :, 0, 0]
    expected = []
    for pld in delays.pcasl_s:
        factor = 2 * cbf / 6000 * 0.85 / 0.9 * 1.65
        if pld >= att:
            expected.append(factor * math.exp(-pld / 1.65) * (1 - math.exp(-1.8 / 1.65)))
        else:
            expected.append(factor * (math.exp(-att / 1.65) - math.exp(-(1.8 + pld) / 1.65)))
    expected += [2 * cbf / 6000 * 0.56 / 0.9 * min(ti, att) * math.exp(-ti / 1.65) for ti in delays.vsasl_s]
    assert found.numpy() == pytest.approx(np.array(expected), rel=1e-5)


def test_a_delay_offset_is_a_longer_delay(delays):
    shifted = type(delays)(*(tuple(value + 0.3 for value in values) for values in delays))
    late = difference_signals(_flat(50), _flat(1.1), nominal(LABEL | {"delay_offset_s": 0.3}), delays)
    assert torch.allclose(late, difference_signals(_flat(50), _flat(1.1), nominal(LABEL), shifted))


def test_tissue_t1_convention_is_the_numerically_integrated_kinetic_model(delays):
    cbf, att, tau, t1b, t1 = 60.0, 1.1, 1.8, 1.65, TISSUE_T1_S["gm"]
    found = difference_signals(_flat(cbf), _flat(att), nominal(LABEL), delays, convention="tissue_t1")[0, :6, 0, 0]
    flow, decay = cbf / 6000, 1 / t1 + cbf / 6000 / 0.9
    for index, pld in enumerate(delays.pcasl_s):
        read = tau + pld
        time = np.linspace(att, min(att + tau, read), 20001) if read > att else np.array([0.0, 0.0])
        arrived = 2 * 0.85 / 0.9 * flow * math.exp(-att / t1b) * np.exp(-decay * (read - time))
        assert float(found[index]) == pytest.approx(np.trapezoid(arrived, time), rel=1e-4)


def test_a_mixed_voxel_is_the_sum_of_its_tissues(delays):
    halves = _uniform_slices(1, gm=0.5, wm=0.3)
    gm, wm = _uniform_slices(1, gm=1.0), _uniform_slices(1, gm=0.0, wm=1.0)
    expected = 0.5 * clean_signals(gm, delays) + 0.3 * clean_signals(wm, delays)
    assert torch.allclose(clean_signals(halves, delays), expected)
    cbf, att = mixed(halves.perfusion, halves.fractions)
    assert float(cbf) == pytest.approx(0.5 * 60 + 0.3 * 20)
    assert float(att) == pytest.approx((30 * 1.2 + 6 * 1.6) / 36)


def test_noise_has_the_standard_deviation_that_was_asked_for(delays):
    slices = _uniform_slices(200)
    clean = clean_signals(slices, delays)
    sigma = torch.tensor([0.002])
    noise = add_noise(clean, sigma, slices.m0, seeded(1)) - clean
    assert float(noise.std()) == pytest.approx(0.002, rel=0.01)
    assert abs(float(noise.mean())) < 2e-5


def test_m0_scales_the_signal_but_not_the_noise(delays):
    slices = _uniform_slices(200)
    clean = clean_signals(slices, delays)
    noise = add_noise(clean, torch.tensor([0.002]), torch.tensor([2.0]), seeded(1)) - clean
    assert float(noise.std()) == pytest.approx(0.001, rel=0.01)


def test_strong_noise_shows_the_rician_bias_of_control_and_label(delays):
    from scan2map.physics.noise import rician_mean

    slices = _uniform_slices(300)
    clean = clean_signals(slices, delays)
    sigma = 0.08
    found = add_noise(clean, torch.tensor([sigma]), slices.m0, seeded(3)).mean((0, 2, 3))
    static, channel = simulator.STATIC_FRACTION, sigma / math.sqrt(2)
    levels = (static - clean[0, :, 0, 0]).numpy()
    expected = rician_mean(np.array([static]), channel) - rician_mean(levels, channel)
    assert found.numpy() == pytest.approx(expected, abs=6e-4)
    assert float(found[0]) < 0.6 * float(clean[0, 0, 0, 0])


def test_snr_is_mean_grey_matter_difference_over_noise(thumbnail_settings, delays):
    settings = thumbnail_settings["simulation"] | {
        "snr_gm": [4.0, 4.0],
        "lesion": {"probability": 0, "diameter_mm": [10, 20]},
    }
    fractions = torch.cat([_flat(0, 3, 24), _flat(1, 3, 24), _flat(0, 3, 24)], 1)
    settings["random_tissue_share"] = 0.0
    scan = simulate(fractions, torch.full((3,), 3.0), settings, delays, seeded(5))
    signal = simulator.grey_matter_signal(scan.clean, scan.fractions)
    assert (signal / scan.sigma).numpy() == pytest.approx([4.0] * 3, rel=0.15)


def test_perfusion_and_transit_times_keep_their_ranges(delays):
    drawn = perfusion_slices.draw_perfusion(200, 16, seeded(2))
    assert 30 < float(drawn.gm_cbf.mean()) < 90
    assert 10 < float(drawn.wm_cbf.mean()) < 35
    assert float(drawn.gm_att_s.min()) >= 0.8 - 1e-6
    assert float(drawn.gm_att_s.max()) <= 2.2 + 1e-6
    assert float(drawn.wm_att_s.max()) <= 2.5 + 1e-6
    assert bool((drawn.wm_att_s >= drawn.gm_att_s - 1e-6).all())


def test_lesions_reach_core_values_and_touch_nothing_else(thumbnail_settings):
    perfusion = perfusion_slices.draw_perfusion(300, 24, seeded(8))
    settings = {"probability": 1.0, "diameter_mm": [30.0, 40.0]}
    changed, share = perfusion_slices.draw_lesions(perfusion, settings, torch.full((300,), 3.0), seeded(9))
    untouched = share < 1e-6
    assert torch.allclose(changed.gm_cbf[untouched], perfusion.gm_cbf[untouched], rtol=1e-4)
    assert float(changed.gm_att_s.max()) > 3.0
    assert float(changed.gm_att_s.max()) <= 4.0 + 1e-6
    ratio = (changed.gm_cbf / perfusion.gm_cbf)[share > 0.9]
    assert float(ratio.max()) > 1.3
    assert float(ratio.min()) < 0.2


def test_specks_are_rare_single_voxels():
    perfusion = perfusion_slices.draw_perfusion(50, 32, seeded(8))
    changed = perfusion_slices.add_specks(perfusion, seeded(9))
    ratio = changed.gm_cbf / perfusion.gm_cbf
    share = ((ratio - 1).abs() > 1e-4).float().mean()
    assert 0.005 < float(share) < 0.03
    assert 0.3 <= float(ratio.min()) < 0.5
    assert 1.8 < float(ratio.max()) <= 2.0 + 1e-5
    assert torch.equal(changed.gm_att_s, perfusion.gm_att_s)


def test_no_lesion_in_a_healthy_slice():
    perfusion = perfusion_slices.draw_perfusion(4, 16, seeded(8))
    changed, share = perfusion_slices.draw_lesions(
        perfusion, {"probability": 0.0, "diameter_mm": [10, 20]}, torch.ones(4), seeded(1)
    )
    assert float(share.max()) == 0
    assert all(torch.equal(a, b) for a, b in zip(changed, perfusion, strict=True))


def test_a_batch_depends_on_its_generator_alone(thumbnail_settings, delays, ball_head):
    draw = Samples(TissueSlices([ball_head], thumbnail_settings["simulation"]), seed=3)
    batch = default_collate([draw[index] for index in (4, 5)])
    scans = [
        simulate(batch["fractions"], batch["voxel_mm"], thumbnail_settings["simulation"], delays, seeded(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(scans[0].difference, scans[1].difference)
    assert not torch.equal(scans[0].difference, scans[2].difference)
    assert torch.equal(draw[4]["fractions"], draw[4]["fractions"])


def test_realisations_share_their_tissue_but_not_their_noise(thumbnail_settings, delays):
    fractions = random_tissue(2, 24, seeded(1))
    settings = thumbnail_settings["simulation"] | {"realisations": 3}
    scan = simulate(fractions, torch.full((2,), 3.0), settings, delays, seeded(4))
    assert scan.cbf.shape[0] == 6
    assert torch.equal(scan.clean[0], scan.clean[2])
    assert not torch.equal(scan.difference[0], scan.difference[2])
    assert not torch.equal(scan.clean[0], scan.clean[3])


def test_a_slice_through_a_ball_has_its_areas(ball_head):
    centre = (torch.tensor(ball_head.fractions.shape[2:]) - 1) / 2
    found = slice_fractions(ball_head, centre[None].float(), torch.eye(3)[None], 64, (2.5, 2.5, 2.5))
    area = found.sum((2, 3))[0] * 2.5**2
    radii = 4 * np.array([18, 16, 10])
    expected = np.pi * np.array([radii[0] ** 2 - radii[1] ** 2, radii[1] ** 2 - radii[2] ** 2, radii[2] ** 2])
    assert area.numpy() == pytest.approx(expected, rel=0.06)


def test_voxel_averaging_keeps_the_share_of_a_plane_border():
    fractions = np.zeros((3, 20, 20, 20), np.float16)
    fractions[1, :10], fractions[2, 10:] = 1, 1
    from scan2map.phantom.slices.tissue import as_head

    head = as_head(fractions, 1.0)
    found = slice_fractions(head, torch.tensor([[9.5, 9.5, 9.5]]), torch.eye(3)[None], 3, (4.0, 4.0, 4.0))
    assert found[0, 1, 1].numpy() == pytest.approx([1.0, 0.5, 0.0], abs=0.02)
