"""TotalSegmentator as an option: what it is told, what it must write, and that it fetches and reports nothing."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from scan2map.errors import SettingError, ToolError
from scan2map.images import Image
from scan2map.tools.totalsegmentator import segment_skull

STAND_IN = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
import nibabel as nib
arguments = dict(zip(sys.argv[1:-1], sys.argv[2:]))
home = Path(os.environ["TOTALSEG_HOME_DIR"])
assert json.loads((home / "config.json").read_text())["send_usage_stats"] is False
assert list(Path(os.environ["TOTALSEG_WEIGHTS_PATH"]).glob("Dataset297*"))
assert "--fast" in sys.argv and arguments["--device"] == "cpu"
ct = nib.load(arguments["-i"])
found = Path(arguments["-o"])
found.mkdir()
if ct.get_fdata().max() > 300:
    nib.save(nib.Nifti1Image((ct.get_fdata() > 300).astype("uint8"), ct.affine), found / "skull.nii.gz")
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "TotalSegmentator"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "weights" / "Dataset297_TotalSegmentator_total_3mm_1559subj").mkdir(parents=True)
    return tmp_path / "weights"


@pytest.fixture
def ct():
    values = np.full((8, 8, 4), -1000, np.float32)
    values[2:6, 2:6] = 900
    return Image(values, np.diag([-1.0, 1.0, 5.0, 1.0]))


def test_the_skull_lies_on_the_grid_of_the_ct(ct, weights):
    assert np.array_equal(segment_skull(ct, weights), ct.data > 300)


def test_without_weights_it_does_not_start(ct, weights, tmp_path):
    for missing in (None, tmp_path / "elsewhere", tmp_path):
        with pytest.raises(SettingError, match="weights of TotalSegmentator are missing"):
            segment_skull(ct, missing)


def test_no_skull_is_an_error(ct, weights):
    with pytest.raises(ToolError, match="wrote no skull"):
        segment_skull(Image(np.minimum(ct.data, 100), ct.affine), weights)


def test_a_missing_program_is_named(ct, weights):
    (Path(weights).parent / "bin" / "TotalSegmentator").unlink()
    with pytest.raises(ToolError, match="TotalSegmentator is not installed"):
        segment_skull(ct, weights)
