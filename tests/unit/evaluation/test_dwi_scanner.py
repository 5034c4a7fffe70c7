"""Corrected maps beside the maps that a scanner exported, through DICOM and its conversion."""

import json

import numpy as np
import pytest
from tiny_session import AFFINE, EPI, SHAPE, diffusion, noise, write

from scan2map.evaluation.dwi_scanner import compare_corrected_maps
from scan2map.evaluation.long_table import read_table
from scan2map.images import save_image
from scan2map.phantom.series import Series


def derived(number, kind, data):
    kinds = ("DERIVED", "PRIMARY", "DIFFUSION", kind)
    return Series(number, f"dwi_dir-AP_{kind}", data, phase_encoding="j-", image_type=kinds, **EPI)


@pytest.fixture
def scan(tmp_path):
    """DICOM of a diffusion series with exported FA and ADC, and the record of its conversion."""
    fa, adc = noise(SHAPE, 1), noise(SHAPE, 2)
    write(tmp_path / "dicom", [diffusion(10, "dwi_dir-AP", "j-"), derived(11, "FA", fa), derived(12, "ADC", adc)])
    entry = {"number": 10, "used": True, "suffix": "dwi", "files": ["sub-1/dwi/sub-1_dir-AP_dwi.nii.gz"]}
    (tmp_path / "record.json").write_text(json.dumps({"series": [entry]}))
    save_image(tmp_path / "mask.nii.gz", np.ones(SHAPE), AFFINE)
    return fa, adc


def compare(folder, fa, md):
    paths = [folder / f"{name}.nii.gz" for name in ("FA", "MD")]
    for path, data in zip(paths, (fa, md), strict=True):
        save_image(path, data, AFFINE)
    out = folder / "corrected.tsv"
    rest = {"subject": "1", "session": "1", "settings": {"edge_voxels": 1}}
    compare_corrected_maps(*paths, folder / "record.json", folder / "dicom", folder / "mask.nii.gz", out, **rest)
    return read_table(out).set_index("metric")["value"]


def test_voxels_meet_their_own_after_conversion(scan, tmp_path):
    fa, adc = scan
    found = compare(tmp_path, fa / 1000, adc[::-1])
    assert found["FA_corrected_scanner_AP"] > 0.999
    assert abs(found["MD_corrected_scanner_AP"]) < 0.3
