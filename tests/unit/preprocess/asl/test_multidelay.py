"""Joint quantification of series with several delays on a known head, and bringing such a series onto the M0 grid."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scan2map import config
from scan2map.images import Image, load_image, save_image
from scan2map.physics import asl as physics
from scan2map.physics import asl_kinetics as kinetics
from scan2map.physics.asl_design import label_design
from scan2map.preprocess.asl.difference import Pairs
from scan2map.preprocess.asl.metadata import Labelling, save_labelling
from scan2map.preprocess.asl.multidelay import (
    DelaySeries,
    mixed_t1,
    quantify_delays,
    quantify_multidelay_files,
    select_by_delay,
)
from scan2map.preprocess.asl.multidelay_motion import slice_offsets
from scan2map.preprocess.registration import Transform, save_transform

DELAYS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
ATT_S = 1.15


def settings(**multidelay):
    return config.check_block("asl", {"multidelay": multidelay})


def labelling(kind, slice_delays_s=None) -> Labelling:
    """A control-label pair per delay, two background-suppression pulses, fully relaxed M0."""
    delays = tuple(delay for delay in DELAYS for _ in range(2))
    duration = 0.0 if kind == "VSASL" else 1.8
    return Labelling(
        kind, ("control", "label") * len(DELAYS), delays, (duration,) * len(delays), slice_delays_s, 2, None,
        "Separate", 10.0, None, 3.0,
    )  # fmt: skip


def measured(ball, kind, offsets_s, *, model=kinetics.CONSENSUS, tissue_t1_s=1.3, arterial_volume=0.0):
    """Control and label volumes of the ball, noise-free."""
    efficiency = {"PCASL": physics.PCASL_EFFICIENCY, "VSASL": physics.VSASL_EFFICIENCY}[kind]
    duration = np.inf if kind == "VSASL" else 1.8
    design = label_design(kind, DELAYS, duration, efficiency=efficiency, suppression_pulses=2)
    att = np.full(ball.cbf.shape, ATT_S)
    relative = kinetics.difference_signals(
        design, ball.cbf, att, model=model, tissue_t1_s=tissue_t1_s, delay_offset_s=offsets_s
    )
    relative = relative + arterial_volume * kinetics.arterial_responses(design, att - 0.3, offsets_s)
    volumes = [one for difference in relative for one in (ball.m0, ball.m0 * (1 - difference))]
    return DelaySeries(np.stack(volumes, axis=-1), labelling(kind), offsets_s)


def found_by(ball, series, **multidelay):
    m0 = Image(ball.m0, ball.affine)
    return quantify_delays(series, m0, ball.mask, ball.tissues, series[0].labelling, settings(**multidelay))


@pytest.mark.parametrize("multidelay", [{}, {"regularisation": {"strength": 0.02}}])
def test_series_with_slice_orders_of_their_own(ball, multidelay):
    """A 2-D PCASL series beside a velocity-selective one whose slices were read the other way round."""
    ascending = np.broadcast_to(0.04 * np.arange(ball.cbf.shape[2]), ball.cbf.shape)
    series = [measured(ball, "PCASL", ascending), measured(ball, "VSASL", ascending[:, :, ::-1])]
    maps, _ = found_by(ball, series, **multidelay)
    perfused = ball.mask & (ball.cbf > 5)
    tolerance = 0.01 if multidelay else 1e-3
    assert np.median(maps.images["cbf"][perfused] / ball.cbf[perfused]) == pytest.approx(1, rel=tolerance)
    assert np.abs(maps.images["att"][perfused] - ATT_S).mean() < tolerance
    ignored, _ = found_by(ball, [one._replace(offsets_s=ascending) for one in series], **multidelay)
    assert np.abs(ignored.images["att"][perfused] - ATT_S).mean() > 0.02


@pytest.mark.parametrize("kinds", [("PCASL",), ("VSASL",), ("PCASL", "VSASL")])
def test_true_perfusion_and_transit_time_are_recovered(ball, kinds):
    offsets = np.broadcast_to(0.04 * np.arange(ball.cbf.shape[2]), ball.cbf.shape)
    maps, differences = found_by(ball, [measured(ball, kind, offsets) for kind in kinds])
    perfused = ball.mask & (ball.cbf > 5)
    np.testing.assert_allclose(maps.images["cbf"][perfused], ball.cbf[perfused], rtol=1e-3)
    np.testing.assert_allclose(maps.images["att"][perfused], ATT_S, atol=2e-3)
    assert not maps.images["cbf"][~ball.mask].any()
    assert [one.design.kinds[0] for one in differences] == list(kinds)
    assert maps.assumptions["LabelingType"] == list(kinds)
    assert maps.assumptions["TissueT1"] is None


def test_general_kinetic_model_with_the_tissue_of_each_voxel(ball):
    none = np.zeros(ball.cbf.shape)
    t1_s = np.full(ball.cbf.shape, 1.065)
    t1_s[ball.mask] = mixed_t1(ball.tissues, ball.mask)
    series = [measured(ball, kind, none, model="general_kinetic", tissue_t1_s=t1_s) for kind in ("PCASL", "VSASL")]
    maps, _ = found_by(ball, series, model="general_kinetic")
    perfused = ball.mask & (ball.cbf > 5)
    np.testing.assert_allclose(maps.images["cbf"][perfused], ball.cbf[perfused], rtol=2e-3)
    assert maps.assumptions["TissueT1"] == [0.83, 1.3]
    assert "general kinetic" in maps.assumptions["Model"]


def test_arterial_blood_volume(ball):
    series = [measured(ball, kind, np.zeros(ball.cbf.shape), arterial_volume=0.02) for kind in ("PCASL", "VSASL")]
    maps, _ = found_by(ball, series, arterial_component=True)
    perfused = ball.mask & (ball.cbf > 15)
    np.testing.assert_allclose(maps.images["abv"][perfused], 0.02, atol=1e-3)
    assert set(maps.images) == {"cbf", "att", "abv", "sd_cbf", "sd_att", "sd_abv"}


def test_uncertainty_stays_within_what_is_known_before(ball):
    maps, _ = found_by(ball, [measured(ball, "PCASL", np.zeros(ball.cbf.shape))], att_bounds_s=[0.1, 3.1])
    assert maps.images["sd_att"].max() <= 3.0
    assert np.isfinite(maps.images["sd_cbf"]).all()


def test_tissue_t1_by_hand():
    tissues = {"GM": np.array([1.0, 0.0, 0.5, 0.0]), "WM": np.array([0.0, 1.0, 0.5, 0.0])}
    # 1.3 s, 0.83 s, their mean, and their mean where there is neither.
    assert mixed_t1(tissues, np.ones(4, bool)) == pytest.approx([1.3, 0.83, 1.06, 1.06], abs=0.006)


def test_outliers_are_judged_within_their_delay(ball):
    """Two delays of different signal: without grouping, the weaker half would be the outliers."""
    random = np.random.default_rng(0)
    level = np.repeat([1.0, 4.0], 8)
    images = ball.cbf[..., None] * level + random.normal(0, 1, (*ball.cbf.shape, 16))
    images[..., 3] += 200
    pairs = Pairs(images, np.repeat([1.0, 2.0], 8), [(n,) for n in range(16)])
    fate = select_by_delay(pairs, ball.tissues, 1, "score")
    assert fate[0] == "skipped"
    assert fate[3] == "outlier"
    assert (fate[8:] == "used").sum() >= 6


def test_offsets_follow_the_slices_of_the_series():
    timing = replace(labelling("PCASL"), slice_delays_s=(0.0, 0.1, 0.2, 0.3))
    series = Image(np.zeros((3, 3, 4, 2)), np.diag([4.0, 4, 6, 1]))
    # The other grid lies one slice (6 mm) higher in the head: its first slice is the second of the series.
    grid = Image(np.zeros((3, 3, 4)), np.diag([4.0, 4, 6, 1]))
    lift = np.eye(4)
    lift[2, 3] = 6.0
    found = slice_offsets(timing, series, grid, Transform(lift))
    np.testing.assert_allclose(found[1, 1], [0.1, 0.2, 0.3, 0.3], atol=1e-6)
    assert not slice_offsets(labelling("PCASL"), series, grid, Transform()).any()


def test_files_are_written_with_their_sidecars(ball, tmp_path):
    path = {name: tmp_path / f"{name}.nii.gz" for name in ("asl", "offsets", "m0", "mask", "t1w", "GM", "WM", "CSF")}
    one = measured(ball, "PCASL", np.zeros(ball.cbf.shape))
    images = {"asl": one.data, "offsets": one.offsets_s, "m0": ball.m0, "mask": ball.mask, "t1w": ball.m0}
    for name, data in (images | ball.tissues).items():
        save_image(path[name], np.asarray(data, dtype=np.float32), ball.affine)
    save_labelling(tmp_path / "labelling.json", one.labelling)
    save_transform(tmp_path / "xfm.mat", Transform())
    maps = {name: str(tmp_path / f"out_{name}.nii.gz") for name in ("cbf", "att", "sd_cbf", "sd_att")}
    quantify_multidelay_files(
        [path["asl"]], [tmp_path / "labelling.json"], [path["offsets"]], path["m0"], tmp_path / "labelling.json",
        path["mask"], tmp_path / "xfm.mat", path["t1w"], {name: path[name] for name in ball.tissues}, settings(), "cpu",
        maps=maps, cbf_t1w=tmp_path / "cbf_t1w.nii.gz", att_t1w=tmp_path / "att_t1w.nii.gz",
        pairs=tmp_path / "pairs.tsv",
    )  # fmt: skip
    sidecar = json.loads((tmp_path / "out_cbf.json").read_text())
    assert sidecar["Units"] == "mL/100g/min"
    assert sidecar["Model"].startswith("one compartment")
    assert sidecar["LabelingEfficiency"] == [pytest.approx(0.85 * 0.95**2, abs=1e-4)]
    assert len(pd.read_csv(tmp_path / "pairs.tsv", sep="\t")) == len(DELAYS)
    on_t1w = load_image(tmp_path / "cbf_t1w.nii.gz").data
    grey = ball.tissues["GM"] == 1
    np.testing.assert_allclose(on_t1w[grey], 60, rtol=0.02)


def test_prior_is_named_in_the_sidecar(ball):
    maps, _ = found_by(ball, [measured(ball, "PCASL", np.zeros(ball.cbf.shape))], att_prior_s=[1.5, 0.7])
    assert maps.assumptions["TransitTimePrior"] == [1.5, 0.7]
