"""The public xa30 pCASL against the scanner's own perfusion-weighted image."""

import subprocess

import numpy as np
import pytest

from scan2map import config
from scan2map.images import Image, load_image
from scan2map.preprocess.asl.difference import select_pairs, subtract
from scan2map.preprocess.asl.metadata import Labelling
from scan2map.preprocess.asl.motion import align_m0, correct_series, rough_mask

SETTINGS = config.check_block("asl", {"skip_pairs": 1})


def convert(folder, out):
    import dcm2niix

    command = [dcm2niix.bin, "-f", "%s", "-z", "y", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def scans(xa30_dir, tmp_path_factory):
    """The pCASL series (M0, then label and control in turn) and the scanner's perfusion-weighted image."""
    out = tmp_path_factory.mktemp("xa30")
    for series in ("25_asl_2d_tra", "27_asl_2d_tra"):
        convert(xa30_dir / "In" / series, out)
    return load_image(out / "25.nii.gz"), load_image(out / "27.nii.gz")


@pytest.mark.real_data
def test_difference_agrees_with_the_scanners(scans):
    series, scanner = scans
    labelling = Labelling(
        "PCASL", ("label", "control") * 3, (1.8,) * 6, (1.8,) * 6, None, 0, None, "Included", 4.8, None, 3.0
    )
    corrected, motion = correct_series(Image(series.data[..., 1:], series.affine), labelling)
    pairs = subtract(corrected, labelling, SETTINGS["subtraction"])
    nothing = {name: np.zeros(scanner.data.shape) for name in ("GM", "WM", "CSF")}
    fate = select_pairs(pairs.images, nothing, SETTINGS["skip_pairs"], SETTINGS["outliers"])
    difference = pairs.images[..., fate == "used"].mean(-1)
    m0, _ = align_m0(Image(series.data[..., 0], series.affine), Image(corrected, series.affine), labelling, seed=1)
    brain = (m0.data > 2 * 0.3 * np.percentile(m0.data, 98)) & (np.abs(scanner.data) < 4000)
    assert brain.sum() > 5000
    assert np.corrcoef(difference[brain], scanner.data[brain])[0, 1] > 0.95
    assert rough_mask(m0.data).sum() > brain.sum()
    assert motion.framewise_displacement_mm.max() < 0.5
