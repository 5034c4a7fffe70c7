"""The validation protocol scored on estimators whose scores are known beforehand."""

import numpy as np
import pandas as pd
import pytest
import torch

from scan2map.evaluation.edges import edge_width
from scan2map.evaluation.model_table import model_table
from scan2map.systems.asl_quantnet import detail, protocol
from scan2map.systems.asl_quantnet.estimators import Estimate
from scan2map.systems.asl_quantnet.evaluate import EXPERIMENTS, pooled_determination
from scan2map.systems.asl_quantnet.features import grid_fit, unit_efficiency
from scan2map.systems.asl_quantnet.scenes import build_scene, randomised
from scan2map.systems.asl_quantnet.simulator import grey_matter_signal


class VoxelFit(torch.nn.Module):
    """The grid fit as an estimator: linear, local and unbiased where there is little noise."""

    def __init__(self, delays, power=1.0):
        super().__init__()
        self.delays, self.power = delays, power

    def forward(self, difference, mask, labelling):
        cbf, att_s, _ = grid_fit(
            unit_efficiency(difference, labelling, self.delays), labelling, self.delays, "blood_t1"
        )
        zero = torch.zeros_like(cbf)
        return Estimate(cbf.clamp_min(1e-6) ** self.power * mask, att_s * mask, zero, zero, zero + 1)


@pytest.fixture(scope="module")
def scene(thumbnail_settings, ball_head):
    return build_scene(ball_head, "ball", thumbnail_settings)


@pytest.fixture(scope="module")
def scorer(thumbnail_settings, delays):
    return protocol.Scorer([VoxelFit(delays)], thumbnail_settings)


def _values(rows, **wanted):
    found = [one["value"] for one in rows if all(one[key] == value for key, value in wanted.items())]
    assert found
    return found


def test_snr_of_a_scene_is_what_was_asked_for(scene):
    scan = scene.measured(4.0)
    signal = grey_matter_signal(scan.clean, scan.fractions)
    assert (signal / scan.sigma).numpy() == pytest.approx([4.0] * len(signal), rel=1e-3)


def test_a_scene_repeats_and_its_noise_does_not_when_told(scene):
    assert torch.equal(scene.measured(3.0).difference, scene.measured(3.0).difference)
    assert not torch.equal(scene.measured(3.0).difference, scene.measured(3.0, repeat=1).difference)


def test_subjects_differ(thumbnail_settings, ball_head, scene):
    other = build_scene(ball_head, "another", thumbnail_settings)
    assert not torch.equal(other.slices.perfusion.gm_cbf, scene.slices.perfusion.gm_cbf)


def test_the_truth_scores_without_error(scene):
    scan = scene.measured(3.0)
    rows = list(protocol.accuracy(scene, scan, scan, "truth", "x"))
    assert all(value == 0 for value in _values(rows, metric="cbf_rmse") + _values(rows, metric="att_bias"))
    assert _values(rows, metric="cbf_r2") == [1.0]
    assert _values(rows, metric="gm_wm_ratio_error") == [0.0]


def test_a_known_error_is_scored_as_such(scene):
    scan = scene.measured(3.0)
    rows = list(protocol.accuracy(scene, scan, scan._replace(cbf=scan.cbf + 3, att_s=scan.att_s - 0.2), "x", "x"))
    assert _values(rows, metric="cbf_rmse", roi="GM") == pytest.approx([3.0], rel=1e-4)
    assert _values(rows, metric="cbf_bias", roi="WM") == pytest.approx([3.0], rel=1e-4)
    assert _values(rows, metric="att_rmse", roi="tissue") == pytest.approx([200.0], rel=1e-4)


def test_a_linear_estimator_has_slope_one(scorer, scene):
    rows = list(protocol.linearity(scorer, scene))
    assert _values(rows, metric="cbf_slope") == pytest.approx([1.0, 1.0], abs=1e-3)
    assert _values(rows, metric="att_change") == pytest.approx([0.0, 0.0], abs=1e-3)


def test_a_square_root_estimator_has_slope_one_half(thumbnail_settings, delays, scene):
    scorer = protocol.Scorer([VoxelFit(delays, power=0.5)], thumbnail_settings)
    assert _values(list(protocol.linearity(scorer, scene)), metric="cbf_slope") == pytest.approx([0.5, 0.5], abs=1e-3)


def test_a_voxel_wise_estimator_does_not_see_the_tissue_mix(scorer, scene):
    rows = list(protocol.tissue_mix(scorer, scene))
    assert _values(rows, metric="cbf_shift") == pytest.approx([0.0, 0.0], abs=1e-6)
    assert _values(rows, metric="cbf_change") == pytest.approx([0.0, 0.0], abs=1e-6)


def test_hidden_labels_cost_accuracy(scorer, scene):
    rows = list(protocol.mismatch(scorer, scene))
    given, hidden = (
        _values(rows, metric="cbf_rmse", method="ls", roi="tissue", condition=f"labels_{name}")[0]
        for name in ("given", "hidden")
    )
    assert hidden > 1.5 * given


def test_label_parameters_vary_between_slices(scene, thumbnail_settings):
    varied = randomised(scene, thumbnail_settings)
    assert len(torch.unique(varied.slices.labelling.blood_t1_s)) == len(scene.mask)


def test_a_voxel_wise_estimator_recovers_lesions(scorer, scene):
    rows = list(detail.lesions(scorer, scene))
    found = _values(rows, metric="contrast_recovery", method="network")
    assert len(found) == 6
    assert found == pytest.approx([1.0] * 6, abs=0.25)


def test_bound_is_below_least_squares(scorer, scene):
    rows = list(protocol.matched_noise(scorer, scene))
    bound, fitted = (_values(rows, metric="cbf_rmse", roi="GM", method=name)[0] for name in ("bound", "ls"))
    assert 0.6 * fitted < bound < 1.25 * fitted


def test_pooled_determination_is_that_of_all_voxels_together():
    """Two subjects of 1000 voxels, as rows of their statistics and as voxels."""
    rng = np.random.default_rng(2)
    truth = [rng.normal(60, 12, 1000), rng.normal(35, 8, 1000)]
    estimate = [one + rng.normal(1, 5, 1000) for one in truth]
    common = {"condition": "snr=2", "roi": "tissue", "unit": "1", "n": 1000}
    rows = []
    for subject, true, found in zip("ab", truth, estimate, strict=True):
        values = {("truth", "cbf_mean"): true.mean(), ("truth", "cbf_sd"): true.std()}
        values["network", "cbf_rmse"] = np.sqrt(np.mean((found - true) ** 2))
        rows += [{**common, "subject": subject, "method": m, "metric": k, "value": v} for (m, k), v in values.items()]
    expected = 1 - np.mean(np.subtract(estimate, truth) ** 2) / np.var(truth)
    assert pooled_determination(model_table(rows))["value"].mean() == pytest.approx(expected, abs=1e-9)


def test_edge_width_of_a_linear_ramp():
    places = np.arange(-20, 20, 0.25)
    profile = np.interp(places, [-2, 2], [60, 20])
    assert edge_width(places, profile) == pytest.approx(3.2, abs=0.02)


def test_true_edge_is_a_voxel_wide(scorer, scene):
    rows = list(detail.edges(scorer, scene))
    # A box of one voxel (4 mm) rises from 10 % to 90 % within 0.8 voxels.
    assert _values(rows, method="truth") == pytest.approx([3.2], abs=0.4)
    assert _values(rows, method="ls") == pytest.approx([3.2], abs=0.8)


def test_coverage_of_a_known_spread(scene):
    from scan2map.systems.asl_quantnet.prediction import Prediction

    scan = scene.measured(3.0)
    noise = torch.randn(scan.cbf.shape, generator=torch.Generator().manual_seed(1))
    found = Prediction(
        scan.cbf + 2 * noise, scan.att_s + noise, torch.full_like(noise, 2.0), torch.full_like(noise, 0.5)
    )
    rows = list(protocol.coverage(scene, scan, found, "x"))
    assert _values(rows, metric="cbf_coverage_90") == pytest.approx([0.9], abs=0.02)
    assert _values(rows, metric="cbf_coverage_50") == pytest.approx([0.5], abs=0.03)
    assert _values(rows, metric="att_coverage_90")[0] < 0.65


def test_every_target_names_rows_that_the_protocol_writes(scorer, scene):
    """A target without rows would be reported as missed for ever."""
    from pathlib import Path

    from scan2map.evaluation.model_targets import load_model_targets

    levels = {"evaluation": scorer.settings["evaluation"] | {"snr_gm": [1, 2, 3, 5, 10, 25]}}
    scorer = scorer._replace(settings=scorer.settings | levels)
    table = model_table([one for experiment in EXPERIMENTS for one in experiment(scorer, scene)])
    table = pd.concat([table, pooled_determination(table)])
    written = set(zip(table["method"], table["condition"], table["roi"], table["metric"], strict=True))
    targets = load_model_targets(Path("workflow/report/targets/asl_quantnet.yaml"), "local")
    for target in targets:
        keys = {name: target[name] for name in ("method", "condition", "roi", "metric")}
        assert tuple(keys.values()) in written, target["id"]
        assert tuple((keys | (target["over"] or {})).values()) in written, target["id"]
