"""Experiments on perfusion quantification: what is simulated, and that their figures follow from it."""

import numpy as np
import pandas as pd
import pytest
import torch

from scan2map import config
from scan2map.evaluation import asl_experiments as experiments
from scan2map.evaluation.rail import load_targets
from scan2map.physics import asl_kinetics as kinetics

PROTOCOL = config.check_block("phantom", {})["asl"]
SETTINGS = config.check_block("validation", {})["asl_experiments"] | {"voxels": 300}


@pytest.fixture(scope="module")
def tissue():
    torch.set_num_threads(1)
    return experiments.mixed_tissue(600, np.random.default_rng(0))


@pytest.fixture(scope="module")
def table(tissue):
    rows = list(experiments.experiment_rows(tissue, PROTOCOL, SETTINGS, seed=1))
    return pd.DataFrame(rows).set_index(["metric", "roi", "statistic"])["value"]


def test_population_of_the_orientation_table(tissue):
    grey = tissue.name == "GM"
    assert grey.mean() == pytest.approx(0.6)
    assert (tissue.cbf[grey].min() >= 30) & (tissue.cbf[grey].max() <= 90)
    assert (tissue.att_s[~grey].min() >= 1.0) & (tissue.att_s[~grey].max() <= 2.5)
    assert set(tissue.t1_s[grey]) == {1.3}


def test_noise_has_the_signal_to_noise_ratio_of_its_tissue(tissue):
    signal = kinetics.difference_signals(experiments.designs(PROTOCOL, SETTINGS)["joint"], tissue.cbf, tissue.att_s)
    data, sigma = experiments.measure(signal, tissue, 4.0, np.random.default_rng(2), of="WM")
    assert signal[:, tissue.name == "WM"].mean() / sigma == pytest.approx(4)
    assert np.std(data - signal.T) == pytest.approx(sigma, rel=0.03)


def test_joint_design_holds_both_series():
    joint = experiments.designs(PROTOCOL, SETTINGS)["joint"]
    assert joint.kinds == ("PCASL",) * 6 + ("VSASL",) * 6
    assert joint.efficiency[[0, 6]] == pytest.approx([0.85 * 0.95**4, 0.56 * 0.95**3])


def test_errors_stand_against_the_root_mean_square_of_the_bound():
    error, bound = np.array([3.0, -1.0, 100.0]), np.array([1.0, 2.0, 9.0])
    rows = list(experiments.error_rows("x", "GM", np.array([True, True, False]), "CBF", error, {"floor": bound}, "u"))
    values = {row.statistic: row.value for row in rows}
    assert values["bias"] == pytest.approx(1)
    assert values["root_mean_square_error"] == pytest.approx(np.sqrt(5))
    assert values["ratio_to_floor"] == pytest.approx(np.sqrt(5 / 2.5))


def test_bound_scales_with_the_noise(table):
    low, high = (table[f"joint:consensus:snr{snr}:CBF", "GM", "cramer_rao_bound"] for snr in (10, 2))
    assert high == pytest.approx(5 * low, rel=1e-6)


def test_consensus_formula_is_exact_once_all_label_has_arrived(table, tissue):
    """PCASL at 1.8 s: the bias is that of voxels whose transit time is longer, in closed form."""
    grey = tissue.name == "GM"
    att = np.maximum(tissue.att_s, 1.8)
    share = (np.exp(-att / 1.65) - np.exp(-3.6 / 1.65)) / (np.exp(-1.8 / 1.65) - np.exp(-3.6 / 1.65))
    expected = (tissue.cbf * (share - 1))[grey].mean()
    assert table["consensus_pcasl:CBF", "GM", "bias"] == pytest.approx(expected, rel=1e-6)


def test_every_figure_of_the_targets_is_measured(table, pytestconfig):
    path = pytestconfig.rootpath / "workflow" / "report" / "targets" / "asl.yaml"
    made = [one for one in load_targets(path, ("phantom",)) if not one["metric"].startswith("m0_registration")]
    missing = [one["id"] for one in made if (one["metric"], one["roi"], one["statistic"]) not in table.index]
    assert len(made) > 100
    assert not missing
