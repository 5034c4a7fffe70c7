"""Errors of predicted maps against a known truth."""

import numpy as np
import pandas as pd
import pytest

from scan2map.images import save_image
from scan2map.systems.asl_quantnet import MAPS
from scan2map.systems.asl_quantnet.rail import compare_rail
from scan2map.training.predict import map_name

AFFINE = np.diag([4.0, 4.0, 6.0, 1.0])


@pytest.fixture
def rows(tmp_path):
    """Left half grey matter at 60, right half white matter at 20; the network errs by 2, least squares by 6."""
    gm = np.zeros((10, 8, 3))
    gm[:5] = 1
    cbf, att = np.where(gm > 0, 60.0, 20.0), np.where(gm > 0, 1.2, 1.6)
    truth = {}
    for name, data in {"cbf": cbf, "att": att, "GM": gm, "WM": 1 - gm}.items():
        truth[name] = tmp_path / f"{name}.nii.gz"
        save_image(truth[name], data, AFFINE)
    images = {"cbf": cbf + 2, "att": att - 0.1, "cbf_ls": cbf + 6, "att_ls": att + 0.3, "cbf_sd": cbf, "att_sd": att}
    for one in MAPS:
        (tmp_path / map_name(one, "01", "01")).parent.mkdir(exist_ok=True)
        save_image(tmp_path / map_name(one, "01", "01"), images[one.name], AFFINE)
    compare_rail(tmp_path, truth, tmp_path / "out.tsv", subject="01", session="01", threshold=0.8)
    return pd.read_csv(tmp_path / "out.tsv", sep="\t").set_index(["method", "roi", "metric"])["value"]


def test_errors_are_those_put_in(rows):
    assert rows["network", "GM", "cbf_bias"] == pytest.approx(2.0, abs=1e-4)
    assert rows["ls", "WM", "cbf_rmse"] == pytest.approx(6.0, abs=1e-4)
    assert rows["network", "tissue", "att_rmse"] == pytest.approx(100.0, rel=1e-4)
    assert rows["ls", "tissue", "att_bias"] == pytest.approx(300.0, rel=1e-4)


def test_ratio_of_tissues(rows):
    assert rows["network", "tissue", "gm_wm_ratio_error"] == pytest.approx(1 - (62 / 22) / 3, abs=1e-4)


def test_agreement_of_the_two_methods(rows):
    assert rows["network", "tissue", "cbf_minus_ls"] == pytest.approx(-4.0, abs=1e-4)
    assert rows["network", "tissue", "cbf_limits_of_agreement"] == pytest.approx(0.0, abs=1e-4)
    assert rows["network", "tissue", "cbf_correlation_with_ls"] == pytest.approx(1.0, abs=1e-6)
