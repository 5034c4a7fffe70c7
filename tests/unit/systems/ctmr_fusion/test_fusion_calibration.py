"""Calibration on validation scans: probabilities, intervals by class of spread, and what counts as lesion."""

import numpy as np
import pytest
import torch

from scan2map.systems.ctmr_fusion import uncertainty
from scan2map.systems.ctmr_fusion.lesions import choose_rule, lesion_mask
from scan2map.systems.ctmr_fusion.training import build_network

SHAPE = (4, 1, 24, 24, 8)
VOXEL_MM = (2.0, 2.0, 5.0)  # 0.02 ml


def two_tissues(seed):
    """Images that are uncertain in one half, and wrong alike in all draws by an amount that differs between halves."""
    torch.manual_seed(seed)
    hard = torch.zeros(SHAPE)
    hard[:, :, 12:] = 1
    target = torch.randn(SHAPE)
    shared = (0.02 + 0.3 * hard) * torch.randn(SHAPE)
    drawn = target + shared + (0.001 + 0.02 * hard) * torch.randn(3, *SHAPE)
    return drawn, target, hard


def covered(network, drawn, target, inside):
    error = (drawn.mean(0) - target).abs()
    return {
        level: float((error <= width)[inside].float().mean())
        for level, width in uncertainty.half_widths(network, drawn).items()
    }


def test_intervals_cover_on_other_scans_in_every_region(fusion_settings):
    network = build_network(fusion_settings)
    drawn, target, _ = two_tissues(1)
    uncertainty.set_widths(network, (drawn.mean(0) - target).abs().flatten(), drawn.std(0).flatten())
    drawn, target, hard = two_tissues(2)
    for inside in (hard == 0, hard == 1):
        assert covered(network, drawn, target, inside) == pytest.approx({0.5: 0.5, 0.9: 0.9}, abs=0.05)


def test_a_network_without_noise_has_one_width(fusion_settings):
    network = build_network(fusion_settings)
    uncertainty.set_widths(network, torch.linspace(0, 1, 101), torch.zeros(101))
    widths = uncertainty.half_widths(network, torch.zeros(2, 1, 1, 4, 4, 2))
    assert widths[0.5].unique().tolist() == pytest.approx([0.5])
    assert widths[0.9].unique().tolist() == pytest.approx([0.9])


def test_a_bold_head_is_made_honest():
    torch.manual_seed(1)
    logits = 3 * torch.randn(20000).double()
    truth = (torch.rand(20000) < torch.sigmoid(logits / 3)).double()
    assert uncertainty.best_temperature(logits, truth) == pytest.approx(3, rel=0.1)


def block(*corner, size=3):
    mask = np.zeros((24, 24, 8), dtype=bool)
    mask[tuple(slice(start, start + size) for start in corner)] = True
    return mask


def test_small_pieces_and_low_probabilities_are_no_lesion():
    probability = 0.9 * block(2, 2, 2) + 0.9 * block(12, 12, 2, size=1) + 0.3 * block(18, 2, 2)
    assert np.array_equal(lesion_mask(probability, VOXEL_MM, 0.5, 0.1), block(2, 2, 2))  # 27 voxels: 0.54 ml
    assert lesion_mask(probability, VOXEL_MM, 0.5, 0.0).sum() == 28
    assert lesion_mask(probability, VOXEL_MM, 0.2, 0.1).sum() == 54
    assert not lesion_mask(probability, VOXEL_MM, 0.5, 0.6).any()


def test_the_rule_is_the_one_with_the_best_overlap_and_scans_without_lesion_count():
    expert = block(2, 2, 2, size=5)  # 2.5 ml
    timid = 0.45 * expert
    assert choose_rule([timid], [expert], VOXEL_MM)[0] < 0.45
    false = 0.9 * block(12, 12, 2, size=2)  # 0.16 ml
    assert choose_rule([expert + false, false], [expert, expert & False], VOXEL_MM)[1] == pytest.approx(0.8)
    small = block(18, 18, 2, size=2)
    both = choose_rule([1.0 * small, 1.0 * expert], [small, expert], VOXEL_MM)
    assert both[1] <= 0.16


def test_all_buffers_are_set(fusion_settings):
    network = build_network(fusion_settings)
    drawn, target, _ = two_tissues(1)
    before = {name: value.clone() for name, value in network.named_buffers()}
    lesion = torch.zeros(SHAPE)
    lesion[:, :, 3:7, 3:7, 2:6] = 1
    seen = uncertainty.Drawn(drawn, target, lesion, torch.ones(SHAPE))
    with torch.no_grad():
        uncertainty.calibrate(network, seen, VOXEL_MM)
    for name in ("temperature", "spread_edges", "half_width_50", "half_width_90"):
        assert not torch.equal(before[name], getattr(network, name)), name
    assert 0 < float(network.lesion_threshold) < 1
