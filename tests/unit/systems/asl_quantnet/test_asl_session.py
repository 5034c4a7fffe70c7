"""A session as input of the network: averages per delay, the demands of a package, and whole volumes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scan2map.config import check_block
from scan2map.errors import DataError
from scan2map.images import save_image
from scan2map.physics.asl_kinetics import LabelDesign
from scan2map.preprocess.asl.metadata import Labelling as SeriesLabelling
from scan2map.preprocess.asl.multidelay import DelaySeries
from scan2map.provenance import write_json
from scan2map.systems.asl_quantnet import session
from scan2map.systems.asl_quantnet.estimators import build_estimator
from scan2map.systems.asl_quantnet.labelling import nominal
from scan2map.systems.asl_quantnet.prediction import predict_ensemble
from scan2map.training.acquisition import check_acquisition

STEPS = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
LABEL = {"pcasl_efficiency": 0.69, "vsasl_efficiency": 0.48, "blood_t1_s": 1.65, "label_duration_s": 1.8}


def _design(pcasl=STEPS, vsasl=STEPS, partition=0.9):
    kinds = ("PCASL",) * len(pcasl) + ("VSASL",) * len(vsasl)
    durations = np.array([1.8] * len(pcasl) + [np.inf] * len(vsasl))
    efficiency = np.array([0.69] * len(pcasl) + [0.48] * len(vsasl))
    return LabelDesign(kinds, np.array([*pcasl, *vsasl]), durations, efficiency, 1.65, partition)


def _inputs(folder: Path, design: LabelDesign, offset=0.1):
    affine = np.diag([3.0, 3.0, 5.0, 1.0])
    generator = np.random.default_rng(3)
    save_image(
        folder / "difference.nii.gz", 0.005 + 0.001 * generator.standard_normal((20, 18, 3, len(design))), affine
    )
    save_image(folder / "delay_offsets.nii.gz", np.full((20, 18, 3), offset), affine)
    mask = np.zeros((20, 18, 3))
    mask[2:-2, 2:-2] = 1
    save_image(folder / "mask.nii.gz", mask, affine)
    write_json(folder / "design.json", session._design_content(design))
    names = ("difference.nii.gz", "delay_offsets.nii.gz", "mask.nii.gz", "design.json")
    return {name.split(".")[0]: folder / name for name in names}


def test_delays_are_averaged_over_their_pairs_and_divided_by_m0():
    contexts = ("control", "label") * 4
    delays = (1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5, 0.5)
    labelling = SeriesLabelling("PCASL", contexts, delays, (1.8,) * 8, None, 4, None, "Separate", 10.0, None, 3.0)
    control = np.array([100, 0, 100, 0, 100, 0, 100, 0], float)
    difference = np.array([0, 4, 0, 8, 0, 6, 0, 10], float)  # means: delay 1.0 → 5, delay 0.5 → 9
    volumes = np.broadcast_to(np.where(control > 0, 100.0, 100.0 - difference), (3, 3, 2, 8)).astype(np.float32)
    m0 = np.full((3, 3, 2), 200.0, np.float32)
    m0[0] = 0
    tissues = {"GM": np.ones((3, 3, 2)), "WM": np.zeros((3, 3, 2)), "CSF": np.zeros((3, 3, 2))}
    settings = check_block("asl", {"outliers": "none", "subtraction": "pairwise"})
    found, design = session.average_delays(
        DelaySeries(volumes, labelling, np.zeros((3, 3, 2))), m0, tissues, settings, 0.9
    )
    assert found[1, 1, 1].tolist() == pytest.approx([9 / 200, 5 / 200])
    assert not found[0].any()
    assert design.delay_s.tolist() == [0.5, 1.0]
    assert design.efficiency == pytest.approx(0.85 * 0.95**4)


def test_a_design_survives_its_file(tmp_path):
    design = _design()
    write_json(tmp_path / "design.json", session._design_content(design))
    back = session.read_design(tmp_path / "design.json")
    assert back.kinds == design.kinds
    assert np.array_equal(back.delay_s, design.delay_s)
    assert np.array_equal(back.duration_s, design.duration_s)
    assert (back.blood_t1_s, back.partition) == (1.65, 0.9)


def test_a_matching_session_is_accepted(thumbnail_settings, tmp_path):
    found = session.read_acquisition(_inputs(tmp_path, _design()))
    check_acquisition(session.demands(thumbnail_settings), found, "package")


@pytest.mark.parametrize(
    ("design", "offset", "word"),
    [
        (_design(pcasl=[0.25, *STEPS[1:]]), 0.1, "pcasl_delays_s"),
        (_design(vsasl=STEPS[:3]), 0.1, "vsasl_delays_s"),
        (_design(vsasl=[]), 0.1, "vsasl_efficiency"),
        (_design(), 1.6, "delay_offset_s"),
    ],
)
def test_another_acquisition_is_refused_by_name(thumbnail_settings, tmp_path, design, offset, word):
    found = session.read_acquisition(_inputs(tmp_path, design, offset))
    with pytest.raises(DataError, match=word):
        check_acquisition(session.demands(thumbnail_settings), found, "package")


def test_a_volume_is_its_slices(thumbnail_settings):
    torch.manual_seed(0)
    member = build_estimator(thumbnail_settings).eval()
    generator = np.random.default_rng(1)
    difference = (0.004 + 0.001 * generator.standard_normal((16, 14, 11, 12))).astype(np.float32)
    mask = np.ones((16, 14, 11), bool)
    labelling = nominal(LABEL, 11)._replace(delay_offset_s=torch.linspace(0, 0.5, 11))
    volume = session.predict_volume([member], difference, mask, labelling)
    one = predict_ensemble(
        [member], torch.from_numpy(difference[:, :, 9]).permute(2, 0, 1)[None], torch.ones(1, 1, 16, 14),
        labelling.select(slice(9, 10)),
    )  # fmt: skip
    assert volume.cbf.shape == (16, 14, 11)
    assert np.allclose(volume.cbf[:, :, 9], one.cbf[0, 0].numpy(), rtol=1e-4, atol=1e-3)


def test_partition_coefficient_scales_perfusion(thumbnail_settings):
    member = build_estimator(thumbnail_settings).eval()
    difference, mask = np.full((8, 8, 1, 12), 0.005, np.float32), np.ones((8, 8, 1), bool)
    labellings = [session.slice_labelling(_design(partition=value), 0 * mask, mask, "cpu") for value in (0.9, 0.99)]
    maps = [session.predict_volume([member], difference, mask, labelling) for labelling in labellings]
    # Perfusion is proportional to λ; the label input that moves a little with it is not read by an untrained head.
    assert np.allclose(maps[1].cbf, 1.1 * maps[0].cbf, rtol=1e-4)


def test_session_maps_have_everything_the_description_promises(thumbnail_settings, tmp_path):
    from scan2map.systems.asl_quantnet import MAPS
    from scan2map.training.package import Package

    member = build_estimator(thumbnail_settings).eval()
    package = Package(tmp_path, {"settings": thumbnail_settings}, (member,))
    maps = session.predict_session(package, _inputs(tmp_path, _design()), "cpu")
    assert set(maps) == {wanted.name for wanted in MAPS}
    assert all(image.data.shape == (20, 18, 3) and np.isfinite(image.data).all() for image in maps.values())
    inside = maps["cbf_ls"].data[5, 5, 1]
    assert inside > 0
    assert maps["cbf"].data[0, 0, 0] == 0


def test_missing_label_parameters_are_reported(thumbnail_settings, tmp_path):
    from scan2map.training.package import Package

    inputs = _inputs(tmp_path, _design())
    write_json(inputs["design"], session._design_content(_design(vsasl=STEPS[:3])))
    package = Package(tmp_path, {"settings": thumbnail_settings}, ())
    with pytest.raises(DataError, match="do not match their label parameters"):
        session.predict_session(package, inputs, "cpu")


def test_series_with_slice_orders_of_their_own_are_refused():
    rising = np.broadcast_to(0.04 * np.arange(12), (2, 2, 12))
    brain = np.ones(rising.shape, dtype=bool)
    brain[..., -1] = False
    moved = rising + 0.04
    moved[..., -1] = 0.0  # beyond the field of view of the other series
    first = DelaySeries(None, None, rising)
    assert session.shared_offsets([first], brain, file="x.nii.gz") is rising
    assert session.shared_offsets([first, DelaySeries(None, None, moved)], brain, file="x.nii.gz") is rising
    with pytest.raises(DataError, match="different orders"):
        session.shared_offsets([first, DelaySeries(None, None, rising[..., ::-1])], brain, file="x.nii.gz")
