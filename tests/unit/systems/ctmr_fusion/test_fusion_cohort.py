"""Heads of the cohort are those of the phantom, on the clinical grid."""

import numpy as np
import pytest

from scan2map.systems.ctmr_fusion import SYSTEM
from scan2map.systems.ctmr_fusion.cohort import load_heads

DATA = {"voxel_size_mm": [7.0, 7.0, 10.0], "matrix": [32, 32, 13], "seed": 1}


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    path = tmp_path_factory.mktemp("cohort") / "sub-L01.safetensors"
    SYSTEM.build_dataset("L01", {}, DATA, path)
    return load_heads([path])[0]


def test_a_head_has_the_volumes_of_a_head(head):
    litres = np.prod(head.voxel_mm) / 1e6
    assert 1.0 < head.brain.sum() * litres < 2.0
    assert head.fractions.sum(0).max() < 1.01
    assert 0.3 < head.fractions[3].sum() * litres < 1.2  # skull and base of the skull


def test_ct_numbers_are_those_of_the_tissues(head):
    white = head.fractions[2] > 0.95
    assert head.hounsfield[white].mean() == pytest.approx(29, abs=2)
    assert head.hounsfield[0, 0, 0] == -1000
    assert head.hounsfield[head.fractions[3] > 0.8].mean() > 500
