"""A session as input of the network: units, demands, maps."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import save_image
from scan2map.physics.asl import pcasl_difference
from scan2map.preprocess.asl.metadata import Labelling, save_labelling
from scan2map.systems import load_system
from scan2map.training.acquisition import check_acquisition

SYSTEM = load_system("asl_denoise")
SIDECAR = {"LabelingEfficiency": 0.7, "BloodT1": 1.65, "PartitionCoefficient": 0.9}
LATER_S = (0.0, 0.1, 0.2)


def _labelling(kind="PCASL", delays=(1.8, 1.8), slices=LATER_S):
    return Labelling(kind, ("control", "label"), delays, (1.8, 1.8), slices, 0, None, "Separate", 10.0, None, 3.0)


def _cbf():
    generator = np.random.default_rng(1)
    return 50 + 20 * generator.standard_normal((20, 18, 3))


def _inputs(folder, labelling=None, voxel_mm=3.0, gain=1.0):
    """A session whose voxels have the perfusion of :func:`_cbf`, each slice read at its own delay."""
    affine = np.diag([voxel_mm, voxel_mm, 5.0, 1.0])
    m0 = gain * np.broadcast_to(np.linspace(80, 120, 20)[:, None, None], (20, 18, 3))
    delays = 1.8 + np.array(LATER_S)
    difference = m0 * pcasl_difference(_cbf(), np.zeros(1), delays[None, None], 1.8, efficiency=0.7)
    mask = np.zeros((20, 18, 3))
    mask[2:-2, 2:-2] = 1
    grey = np.broadcast_to(np.linspace(0, 1, 18)[None, :, None], mask.shape)
    volumes = {"difference": difference, "m0": m0, "mask": mask, "grey": grey, "white": 1 - grey}
    for name, data in volumes.items():
        save_image(folder / f"{name}.nii.gz", data, affine)
    (folder / "difference.json").write_text(json.dumps(SIDECAR))
    save_labelling(folder / "labelling.json", labelling or _labelling())
    files = {name: folder / f"{name}.nii.gz" for name in volumes}
    return files | {"labelling": folder / "labelling.json"}


@pytest.fixture
def package(untrained, denoise_settings):
    return SimpleNamespace(members=(untrained,), settings=denoise_settings)


def _predict(package, inputs):
    import torch

    with torch.inference_mode():
        return SYSTEM.predict(package, inputs, "cpu")


def test_plain_average_is_the_perfusion_that_made_the_images(tmp_path, package):
    found = _predict(package, _inputs(tmp_path))
    inside = np.zeros((20, 18, 3), bool)
    inside[2:-2, 2:-2] = True
    assert found["cbf_averaged"].data[inside] == pytest.approx(_cbf()[inside], rel=1e-3)
    assert set(found) == {wanted.name for wanted in SYSTEM.description.maps}
    assert all((image.data[~inside] == 0).all() for image in found.values())


def test_residual_is_what_the_network_took_away(tmp_path, package):
    found = _predict(package, _inputs(tmp_path))
    total = found["cbf"].data + found["residual"].data
    assert total == pytest.approx(found["cbf_averaged"].data, abs=1e-3)


def test_gain_of_the_scanner_does_not_matter(tmp_path, package):
    (tmp_path / "loud").mkdir()
    quiet, loud = _predict(package, _inputs(tmp_path)), _predict(package, _inputs(tmp_path / "loud", gain=37.0))
    assert loud["cbf"].data == pytest.approx(quiet["cbf"].data, abs=2e-3)


def _check(settings, inputs):
    check_acquisition(SYSTEM.acquisition(settings), SYSTEM.read_acquisition(inputs), "asl_denoise")


@pytest.mark.parametrize("voxel_mm", [2.7, 3.4, 4.0])
def test_other_matrix_sizes_and_resolutions_pass(tmp_path, denoise_settings, voxel_mm):
    _check(denoise_settings, _inputs(tmp_path, voxel_mm=voxel_mm))


@pytest.mark.parametrize(
    ("labelling", "voxel_mm", "message"),
    [
        (_labelling("PASL"), 3.0, "labelling = PASL"),
        (_labelling(delays=(1.0, 2.0)), 3.0, "delays = 2"),
        (_labelling(delays=(0.2, 0.2)), 3.0, "post_label_delay_s = "),
        (_labelling(), 6.0, "voxel_mm = "),
    ],
)
def test_another_acquisition_is_refused(tmp_path, denoise_settings, labelling, voxel_mm, message):
    with pytest.raises(DataError, match=message):
        _check(denoise_settings, _inputs(tmp_path, labelling, voxel_mm))


def test_a_difference_image_without_its_constants_is_refused(tmp_path, package):
    inputs = _inputs(tmp_path)
    (tmp_path / "difference.json").write_text("{}")
    with pytest.raises(DataError, match="does not say how perfusion is quantified"):
        _predict(package, inputs)


def test_an_empty_mask_is_refused(tmp_path, package):
    inputs = _inputs(tmp_path)
    save_image(tmp_path / "mask.nii.gz", np.zeros((20, 18, 3)), np.diag([3.0, 3.0, 5.0, 1.0]))
    with pytest.raises(DataError, match="no brain"):
        _predict(package, inputs)
