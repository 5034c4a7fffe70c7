"""The scanner's own maps beside a plain tensor of their source."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_tree import brain, diffusion_series, tissues, true_tensor_scalars

from scan2map.bids.dicom_files import read_folder
from scan2map.bids.dicom_series import group_series
from scan2map.errors import DataError
from scan2map.evaluation.long_table import read_table
from scan2map.evaluation.plain_tensor import fit_plain_tensor
from scan2map.evaluation.scanner_maps import agreement_rows, compare_scanner_maps, maps_of_series, series_numbers
from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi.gradients import GradientTable
from scan2map.tools.commands import find_program, run_program


def derived(number, kind):
    return SimpleNamespace(number=number, image_type=["DERIVED", "PRIMARY", "DIFFUSION", kind])


def test_maps_belong_to_the_diffusion_series_before_them():
    series = [derived(11, "ADC"), derived(12, "TRACEW"), derived(13, "FA"), derived(19, "ADC"), derived(21, "FA")]
    found = maps_of_series([derived(3, "FA"), *series], [17, 10])
    assert {key: one.number for key, one in found.items()} == {
        (10, "ADC"): 11,
        (10, "FA"): 13,
        (17, "ADC"): 19,
        (17, "FA"): 21,
    }


def test_diffusion_series_come_from_the_record():
    record = {
        "series": [
            {"number": 17, "used": True, "suffix": "dwi", "files": ["sub-1/dwi/a_dwi.nii.gz", "sub-1/dwi/a_dwi.json"]},
            {"number": 18, "used": False, "suffix": "dwi", "files": []},
            {"number": 5, "used": True, "suffix": "T1w", "files": ["sub-1/anat/a_T1w.nii.gz"]},
        ]
    }
    assert series_numbers(record) == {17: "sub-1/dwi/a_dwi.nii.gz"}


def test_correlation_leaves_out_what_the_scanner_masked():
    ours = np.array([0.1, 0.2, 0.3, 0.9])
    theirs = np.array([100.0, 200.0, 300.0, 0.0])
    row = next(agreement_rows(ours, theirs, np.ones(4, bool), metric="FA_scanner"))
    assert (row.value, row.n_voxels) == (pytest.approx(1), 3)


@pytest.mark.parametrize("method", ["OLS", "WLS"])
def test_plain_fit_of_noise_free_signals_is_exact(method):
    signal, b_values, vectors = diffusion_series()
    mask = tissues()["WM"]
    fit = fit_plain_tensor(signal, mask, GradientTable(b_values, vectors), method=method)
    true = true_tensor_scalars()
    assert fit.fa[mask] == pytest.approx(true["FA"][mask], abs=1e-5)
    assert fit.md[mask] == pytest.approx(true["MD"][mask], rel=1e-5)
    assert not fit.fa[~brain()].any()


def test_a_session_without_exported_maps_is_refused(tmp_path):
    record, mask = tmp_path / "record.json", tmp_path / "mask.nii.gz"
    record.write_text(json.dumps({"series": []}))
    save_image(mask, brain(), np.eye(4))
    names = {"subject": "01", "session": "1", "settings": {"edge_voxels": 1}}
    with pytest.raises(DataError, match="exported no FA or ADC map"):
        compare_scanner_maps([], record, tmp_path, mask, tmp_path / "out.tsv", **names)


@pytest.mark.real_data
def test_the_real_scan_agrees_with_its_scanner(xa30_dir, tmp_path):
    """FA r >= 0.97 and MD against ADC r >= 0.99 prove the b-table of the conversion."""
    bids = tmp_path / "sub-1_dir-AP_dwi"
    series = next(one for one in group_series(read_folder(xa30_dir / "In")[0]) if one.number == 17)
    (tmp_path / "dicom").mkdir()
    for file in series.files:
        shutil.copy(file.path, tmp_path / "dicom")
    options = ["-z", "y", "-f", bids.name, "-o", str(tmp_path), str(tmp_path / "dicom")]
    run_program([find_program("dcm2niix", "dcm2niix"), *options])
    dwi, record, mask = f"{bids}.nii.gz", tmp_path / "record.json", tmp_path / "mask.nii.gz"
    entry = {"number": 17, "used": True, "suffix": "dwi", "files": [f"{bids.name}.nii.gz"]}
    record.write_text(json.dumps({"series": [entry]}))
    image = load_image(dwi)
    b0 = image.data[..., 0]
    save_image(mask, b0 > 0.4 * np.percentile(b0, 95), image.affine)
    out = tmp_path / "scanner.tsv"
    names = {"subject": "1", "session": "1", "settings": {"edge_voxels": 2}}
    compare_scanner_maps([dwi], record, xa30_dir / "In", mask, out, **names)
    values = read_table(out).set_index("metric")["value"]
    assert values["FA_scanner_AP"] >= 0.97
    assert values["MD_scanner_AP"] >= 0.99
