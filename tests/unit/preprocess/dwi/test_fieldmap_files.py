"""The step as its rule runs it: files in, files out, the documented ways without a reversed image, and real data."""

import json
import subprocess

import epi_head
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from scan2map.config import check_block
from scan2map.errors import DataError
from scan2map.images import load_image, save_image
from scan2map.preprocess.dwi import fieldmap_files
from scan2map.preprocess.dwi.fieldmap_files import estimate_field_files
from scan2map.preprocess.dwi.susceptibility import estimate_field

NAMES = ("fieldmap.nii.gz", "uncorrected.nii.gz", "corrected.nii.gz", "motion.tsv", "metrics.tsv")


@pytest.fixture(scope="module")
def scan():
    return epi_head.simulate(("j-", "j", "j"), (0.05,) * 3)


def write_session(folder, images, affine, directions, times):
    save_image(folder / "epi.nii.gz", np.moveaxis(np.asarray(images), 0, -1), affine)
    table = pd.DataFrame({"file": "a.nii.gz", "volume": range(len(directions)), "phase_encoding": directions})
    table["total_readout_time_s"] = times
    table.to_csv(folder / "acquisition.tsv", sep="\t", index=False)


def run(folder, images, scan, directions, **settings):
    write_session(folder, images, scan.affine, directions, [0.05] * len(directions))
    output = {name.split(".")[0]: folder / name for name in NAMES}
    blocks = {"fieldmap": check_block("fieldmap", {"knot_spacing_mm": 15.0, "iterations": 3} | settings), "fsl": {}}
    estimate_field_files(folder / "epi.nii.gz", folder / "acquisition.tsv", blocks, output=output)
    return output


def test_session_with_opposed_phase_encoding(scan, tmp_path):
    output = run(tmp_path, scan.images, scan, scan.directions)
    field = load_image(output["fieldmap"])
    error = (field.data - scan.field_hz)[scan.brain] * 0.05
    assert np.sqrt((error**2).mean()) < 0.1
    assert load_image(output["corrected"]).data.shape == (*epi_head.SHAPE, 2)
    assert load_image(output["uncorrected"]).data.shape == (*epi_head.SHAPE, 2)
    motion = pd.read_csv(output["motion"], sep="\t")
    assert motion.shape == (3, 6)
    metrics = pd.read_csv(output["metrics"], sep="\t").iloc[0]
    assert (metrics.reference, metrics.acquisition) == ("j- 0.05", "j 0.05")
    assert metrics.correlation_after > metrics.correlation_before + 0.2
    assert metrics.relative_difference_after < metrics.relative_difference_before / 2
    assert 2 < metrics.max_shift_voxels < 3.2  # 3 at the brain's edge, which is left out
    sidecar = json.loads((tmp_path / "fieldmap.json").read_text())
    assert sidecar["Units"] == "Hz"
    assert sidecar["SusceptibilityCorrection"] == "embedded"
    dictionary = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics.index) <= set(dictionary)


def test_one_direction_goes_on_uncorrected_and_says_so(scan, tmp_path, caplog):
    output = run(tmp_path, scan.images[1:], scan, ("j", "j"))
    assert not load_image(output["fieldmap"]).data.any()
    assert np.allclose(load_image(output["corrected"]).data[..., 0], scan.images[1:].mean(0), rtol=1e-5)
    sidecar = json.loads((tmp_path / "fieldmap.json").read_text())
    assert sidecar["SusceptibilityCorrection"] == "none"
    assert "NOT corrected" in sidecar["Reason"]
    assert "NOT corrected" in caplog.text
    assert pd.read_csv(output["metrics"], sep="\t").empty


def test_one_direction_stops_where_the_settings_say_so(scan, tmp_path):
    with pytest.raises(DataError, match="no b0 volumes with opposed phase encoding"):
        run(tmp_path, scan.images[:1], scan, ("j-",), missing_reverse="stop")


def test_no_engine_leaves_the_images_alone(scan, tmp_path):
    output = run(tmp_path, scan.images[:2], scan, ("j-", "j"), engine="none")
    metrics = pd.read_csv(output["metrics"], sep="\t").iloc[0]
    assert metrics.correlation_after == metrics.correlation_before
    assert np.allclose(load_image(output["corrected"]).data, np.moveaxis(scan.images[:2], 0, -1))


def test_acquisition_table_that_does_not_fit(scan, tmp_path):
    write_session(tmp_path, scan.images, scan.affine, ["j", "j-"], [0.05, 0.05])
    with pytest.raises(DataError, match="does not fit"):
        fieldmap_files.read_acquisition(tmp_path / "acquisition.tsv", 3)


def test_a_correction_that_makes_it_worse_stops(scan):
    table = pd.DataFrame(
        [{"reference": "j-", "acquisition": "j", "smoothed_correlation_before": 0.9, "smoothed_correlation_after": 0.7}]
    )
    with pytest.raises(DataError, match="agree less after correction"):
        fieldmap_files.check_field(table, scan.field_hz, scan.brain, "fieldmap.nii.gz")


def test_an_impossible_field_stops(scan):
    with pytest.raises(DataError, match="not plausible"):
        fieldmap_files.check_field(pd.DataFrame(), scan.field_hz + 900, scan.brain, "fieldmap.nii.gz")


@pytest.fixture(scope="module")
def real_pair(xa30_dir, tmp_path_factory):
    """The first b0 of the AP and of the PA series of xa30, and their affine."""
    dcm2niix = pytest.importorskip("dcm2niix")
    folder, images = tmp_path_factory.mktemp("xa30"), []
    for number in ("17", "10"):
        (source,) = (xa30_dir / "In").glob(f"{number}_*")
        subprocess.run([dcm2niix.bin, "-f", number, "-z", "n", "-o", folder, source], check=True, capture_output=True)
        images.append(load_image(folder / f"{number}.nii"))
    return np.stack([image.data[..., 0] for image in images]), images[0].affine


@pytest.fixture(scope="module")
def topup_dir(xa30_dir):
    """TOPUP's results on xa30, beside the scan."""
    folder = xa30_dir.with_name("xa30-fsl")
    if not (folder / "field.nii.gz").is_file():
        pytest.skip("TOPUP's results on xa30 are absent: they belong into xa30-fsl beside the scan")
    return folder


@pytest.mark.real_data
def test_field_of_a_real_head_is_that_of_topup(real_pair, topup_dir):
    images, affine = real_pair
    estimate = estimate_field(images, affine, ("j-", "j"), (0.0475693,) * 2, check_block("fieldmap", {}))
    topup = load_image(topup_dir / "field.nii.gz").data
    brain = load_image(topup_dir / "b0_mask.nii.gz").data > 0
    assert np.corrcoef(estimate.field_hz[brain], topup[brain])[0, 1] > 0.985
    inside = ndimage.binary_erosion(brain, iterations=2)
    assert np.corrcoef(images[:, inside])[0, 1] < 0.75
    assert np.corrcoef(estimate.corrected[:, inside])[0, 1] > 0.985
    smooth = np.stack([ndimage.gaussian_filter(image, 1.5 / 2.355) for image in estimate.corrected])
    assert np.corrcoef(smooth[:, inside])[0, 1] > 0.998
