"""The ASL rules' functions on files: a small session from raw volumes to CBF, and every way an M0 can be there."""

import json

import numpy as np
import pandas as pd
import pytest

from scan2map import config
from scan2map.errors import DataError
from scan2map.images import load_image, save_image
from scan2map.physics import asl as physics
from scan2map.preprocess.asl.assess import assess_cbf_files
from scan2map.preprocess.asl.coregister import brain_mask
from scan2map.preprocess.asl.metadata import load_labelling
from scan2map.preprocess.asl.motion import correct_asl_motion_files
from scan2map.preprocess.asl.quantify import quantify_cbf_files
from scan2map.preprocess.asl.series import prepare_asl_files
from scan2map.preprocess.registration import Transform, save_transform
from scan2map.provenance import sidecar_path

SETTINGS = config.check_block("asl", {})
SIDECAR = {
    "ArterialSpinLabelingType": "PCASL", "PostLabelingDelay": 1.8, "LabelingDuration": 1.8, "M0Type": "Separate",
    "BackgroundSuppression": False, "MRAcquisitionType": "3D", "MagneticFieldStrength": 3,
    "RepetitionTimePreparation": 6.0,
}  # fmt: skip


@pytest.fixture
def session(ball, tmp_path):
    """Writer of a session: volume types and sidecar changes in, paths of ASL and M0 out."""

    def write(types, separate=True, **change):
        relative = physics.pcasl_difference(ball.cbf, 0.5, 1.8, 1.8)
        images = {
            "control": ball.m0,
            "label": ball.m0 * (1 - relative),
            "deltam": ball.m0 * relative,
            "m0scan": ball.m0,
        }
        noise = np.random.default_rng(0).normal(0, 0.2, (*ball.m0.shape, len(types)))
        data = np.stack([images[kind] for kind in types], axis=-1) + noise
        save_image(tmp_path / "sub-01_asl.nii.gz", data, ball.affine)
        (tmp_path / "sub-01_asl.json").write_text(json.dumps(SIDECAR | change))
        (tmp_path / "sub-01_aslcontext.tsv").write_text("\n".join(["volume_type", *types]) + "\n")
        if not separate:
            return [tmp_path / "sub-01_asl.nii.gz"], []
        save_image(tmp_path / "sub-01_m0scan.nii.gz", ball.m0, ball.affine)
        (tmp_path / "sub-01_m0scan.json").write_text(json.dumps({"RepetitionTimePreparation": 10.0}))
        return [tmp_path / "sub-01_asl.nii.gz"], [tmp_path / "sub-01_m0scan.nii.gz"]

    return write


def run(folder, ball, asl, m0, settings=SETTINGS):
    """From raw files to the perfusion map; the anatomy is the ball's own."""
    path = {name: folder / f"{name}.nii.gz" for name in ("raw", "m0raw", "preproc", "m0", "mask", "GM", "WM", "CSF")}
    prepare_asl_files(asl, m0, settings, series=path["raw"], m0scan=path["m0raw"], labelling=folder / "labelling.json")
    correct_asl_motion_files(
        path["raw"], path["m0raw"], folder / "labelling.json", 1, preproc=path["preproc"], m0=path["m0"],
        motion=folder / "motion.tsv",
    )  # fmt: skip
    save_image(path["mask"], ball.mask, ball.affine, dtype=np.uint8)
    for label, fraction in ball.tissues.items():
        save_image(path[label], fraction, ball.affine)
    save_transform(folder / "to_t1w.mat", Transform())
    sidecar_path(folder / "to_t1w.mat").write_text(json.dumps({"MaskOverlap": 0.95, "BoundaryCost": 0.6}))
    centred = np.eye(4)
    centred[:3, 3] = -np.array([46, 46, 33])
    save_transform(folder / "mni.mat", Transform(centred))
    outputs = {name: folder / f"out_{name}.nii.gz" for name in ("cbf", "cbf_t1w", "deltam", "calibrated")}
    outputs |= {name: folder / f"out_{name}.tsv" for name in ("pairs", "metrics")}
    tissues, metrics = {label: path[label] for label in ball.tissues}, outputs.pop("metrics")
    quantify_cbf_files(
        path["preproc"], path["m0"], path["mask"], folder / "labelling.json", folder / "to_t1w.mat", path["m0"],
        tissues, settings, **outputs,
    )  # fmt: skip
    assess_cbf_files(
        outputs["cbf"], path["preproc"], folder / "labelling.json", outputs["pairs"], path["mask"], tissues,
        folder / "motion.tsv", folder / "to_t1w.mat", folder / "mni.mat",
        corrected=settings["partial_volume"]["method"] != "none", metrics=metrics,
    )  # fmt: skip
    outputs["metrics"] = metrics
    return outputs


def test_a_session_from_volumes_to_perfusion(session, ball, tmp_path):
    out = run(tmp_path, ball, *session(["control", "label"] * 4))
    cbf = load_image(out["cbf"]).data
    inner = ball.tissues["WM"] + ball.tissues["GM"] > 0.95
    assert np.abs(cbf - ball.cbf)[inner].mean() < 2.5
    metrics = pd.read_csv(out["metrics"], sep="\t").iloc[0]
    assert metrics["gm_cbf"] == pytest.approx(60, rel=0.06)
    assert metrics["mean_framewise_displacement"] < 0.1
    sidecar = json.loads((tmp_path / "out_cbf.json").read_text())
    assert (sidecar["Units"], sidecar["PostLabelingDelay"], sidecar["M0Type"]) == ("mL/100g/min", 1.8, "Separate")
    assert pd.read_csv(out["pairs"], sep="\t")["fate"].isin(["used", "outlier"]).all()


@pytest.mark.parametrize(
    ("types", "separate", "change", "settings"),
    [
        (["m0scan", *["label", "control"] * 4], False, {"M0Type": "Included"}, {}),
        (["deltam", "m0scan"], False, {"M0Type": "Included"}, {}),
        (["control", "label"] * 4, False, {"M0Type": "Absent"}, {"without_m0": "control"}),
        (["control", "label"] * 4, True, {}, {"subtraction": "surround", "outliers": "none"}),
    ],
    ids=["included", "differences", "control as M0", "surround"],
)
def test_each_kind_of_series_gives_perfusion(session, ball, tmp_path, types, separate, change, settings):
    out = run(tmp_path, ball, *session(types, separate, **change), SETTINGS | settings)
    metrics = pd.read_csv(out["metrics"], sep="\t").iloc[0]
    assert metrics["gm_cbf"] == pytest.approx(60, rel=0.06)


def test_several_delays_alone_give_perfusion(session, ball, tmp_path):
    delays = [1.0, 1.0, 1.4, 1.4, 1.8, 1.8, 2.2, 2.2]
    asl, m0 = session(["control", "label"] * 4)
    image = load_image(asl[0])
    for volume in (1, 3, 5, 7):
        image.data[..., volume] = ball.m0 * (1 - physics.pcasl_difference(ball.cbf, 0.5, delays[volume], 1.8))
    save_image(asl[0], image.data, ball.affine)
    sidecar_path(asl[0]).write_text(json.dumps(SIDECAR | {"PostLabelingDelay": delays}))
    out = run(tmp_path, ball, asl, m0)
    assert pd.read_csv(out["metrics"], sep="\t").iloc[0]["gm_cbf"] == pytest.approx(60, rel=0.06)
    facts = json.loads((tmp_path / "out_cbf.json").read_text())
    assert (facts["Delays"], facts["PairsUsed"], facts["LabelingType"]) == ([1.0, 1.4, 1.8, 2.2], 4, "PCASL")


def test_one_number_as_m0(session, ball, tmp_path):
    asl, m0 = session(["control", "label"] * 4, False, M0Type="Estimate", M0Estimate=830)
    out = run(tmp_path, ball, asl, m0)
    calibrated = load_image(out["calibrated"]).data
    np.testing.assert_allclose(calibrated, 830, rtol=1e-5)


@pytest.mark.parametrize(
    ("types", "change", "message"),
    [
        (["control", "label"], {"M0Type": "Absent"}, "no M0 image"),
        (["control", "label"], {"M0Type": "Absent", "BackgroundSuppression": True,
                                "BackgroundSuppressionNumberPulses": 2}, "2 background-suppression pulses"),
    ],
)  # fmt: skip
def test_no_m0_stops_with_a_remedy(session, tmp_path, types, change, message):
    asl, m0 = session(types, False, **change)
    settings = SETTINGS | {"without_m0": "control" if "BackgroundSuppression" in change else "stop"}
    with pytest.raises(DataError, match=message):
        prepare_asl_files(
            asl, m0, settings, series=tmp_path / "a.nii.gz", m0scan=tmp_path / "b.nii.gz", labelling=tmp_path / "c.json"
        )
    assert not (tmp_path / "a.nii.gz").exists()


def test_empty_volumes_and_missing_series_are_named(session, ball, tmp_path):
    asl, m0 = session(["control", "label"] * 2)
    image = load_image(asl[0])
    image.data[..., 2] = 0
    save_image(asl[0], image.data, image.affine)
    outputs = {"series": tmp_path / "a.nii.gz", "m0scan": tmp_path / "b.nii.gz", "labelling": tmp_path / "c.json"}
    with pytest.raises(DataError, match=r"empty.*volumes \[2\]"):
        prepare_asl_files(asl, m0, SETTINGS, **outputs)
    with pytest.raises(DataError, match="no ASL series"):
        prepare_asl_files([], m0, SETTINGS, **outputs)


def test_reversed_labelling_is_never_a_success(session, ball, tmp_path):
    asl, m0 = session(["control", "label"] * 3)
    (tmp_path / "sub-01_aslcontext.tsv").write_text("\n".join(["volume_type", *["label", "control"] * 3]) + "\n")
    with pytest.raises(DataError, match="not plausible"):
        run(tmp_path, ball, asl, m0)
    assert not (tmp_path / "out_cbf.nii.gz").exists()


def test_sorted_volumes_keep_their_order(session, tmp_path):
    asl, m0 = session(["m0scan", "label", "control"], False, M0Type="Included")
    prepare_asl_files(
        asl, m0, SETTINGS, series=tmp_path / "a.nii.gz", m0scan=tmp_path / "b.nii.gz", labelling=tmp_path / "c.json"
    )
    assert load_labelling(tmp_path / "c.json").volume_types == ("label", "control")
    np.testing.assert_array_equal(load_image(tmp_path / "a.nii.gz").data, load_image(asl[0]).data[..., 1:])


def test_mask_needs_brain_and_signal():
    share = np.ones((4, 4, 4))
    share[0] = 0.2
    m0 = np.full((4, 4, 4), 500.0)
    m0[1, 0] = 10
    mask = brain_mask(m0, share)
    assert not mask[0].any()
    assert not mask[1, 0].any()
    assert mask[1, 1:].all()
    with pytest.raises(DataError, match="does not cover"):
        brain_mask(m0, 0 * share)
    m0[:, :2] = 10
    with pytest.raises(DataError, match=r"no signal in much of the brain.*50 %"):
        brain_mask(m0, share)
