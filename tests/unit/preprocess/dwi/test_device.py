"""The embedded steps on every device that torch finds here: the same numbers as on the CPU, where they are tested."""

from dataclasses import replace

import epi_head
import numpy as np
import pytest
import torch
from dwi_head import AFFINE, simulate

from scan2map.config import check_block
from scan2map.preprocess.dwi.correct import correct_scan
from scan2map.preprocess.dwi.susceptibility import estimate_field
from scan2map.preprocess.dwi.tensor import fit_tensor

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
DEVICES = [pytest.param("cpu", id="cpu"), pytest.param("cuda", id="cuda", marks=GPU)]
B_VALUES = np.array([0.0, *[1000.0] * 20])
MOTION = {"correct": True, "voxels": 2000, "eddy_model": "quadratic", "outlier_threshold_sd": 4}


@pytest.fixture(scope="module")
def moved():
    head = simulate(B_VALUES, None, np.linspace(0, 0.4, 21)[:, None] * [1, -1, 1, 0.01, 0.01, -0.01], noise=20)
    head.scan.volumes[7, :, :, 12] *= 0.2  # a lost slice: its replacement is on the device too
    return head


def corrected(head, device):
    scan = replace(head.scan, volumes=head.scan.volumes.clone().to(device), field_hz=head.scan.field_hz.to(device))
    correction = correct_scan(scan, head.mask, MOTION)
    return correction, fit_tensor(correction.data, head.mask, correction.gradients, AFFINE, device)


@pytest.mark.parametrize("device", DEVICES)
def test_motion_and_tensor(moved, device):
    (expected, tensor), (found, maps) = corrected(moved, "cpu"), corrected(moved, device)
    assert found.outliers[7, 12]
    np.testing.assert_array_equal(found.outliers, expected.outliers)
    np.testing.assert_allclose(found.motion.rigid, expected.motion.rigid, atol=0.02)
    assert np.abs(maps.fa - tensor.fa)[moved.mask].mean() < 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_field(device):
    scan = epi_head.simulate(shift_voxels=2)
    settings = check_block("fieldmap", {"iterations": 2})
    inputs = (scan.images, scan.affine, scan.directions, scan.times_s, settings)
    difference = estimate_field(*inputs, device).field_hz - estimate_field(*inputs).field_hz
    assert np.abs(difference[scan.brain]).max() * max(scan.times_s) < 0.02
