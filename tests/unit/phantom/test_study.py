"""From labels and settings to files: the real head at thumbnail size."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from scan2map.config import check_block
from scan2map.errors import SettingError
from scan2map.phantom.series import Series
from scan2map.phantom.study import acquired, session_seed, simulate_files
from scan2map.phantom.truth_names import truth_paths


@pytest.fixture(scope="module")
def preset(root):
    return yaml.safe_load((root / "config/phantom/thumbnail.yaml").read_text())


def simulate(preset, folder: Path, session="01"):
    simulate_files(
        "01", session, folder / "dicom" / "ses-01", folder / "truth",
        head=check_block("phantom_subject", preset["phantom_subject"]),
        protocol=check_block("phantom", preset["phantom"] | {"modalities": ["dwi", "asl"]}),
        seed=20240,
    )  # fmt: skip


def test_sessions_differ_in_their_seed_and_repeat_it():
    seeds = {session_seed(subject, session, 1) for subject in ("01", "02") for session in ("01", "02")}
    assert len(seeds) == 4
    assert session_seed("01", "02", 1) in seeds


def test_a_session_becomes_dicom_folders_and_truth(preset, tmp_path):
    left_over = tmp_path / "dicom" / "ses-01" / "001-old"
    left_over.mkdir(parents=True)
    simulate(preset, tmp_path)
    folders = sorted(path.name for path in (tmp_path / "dicom" / "ses-01").iterdir())
    assert folders == [
        "010-dwi_dir-AP", "011-dwi_b0_dir-PA", "030-pcasl_multipld", "031-vsasl_multipld", "032-pcasl_singlepld",
        "033-asl_m0scan",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "dicom").iterdir()] == ["ses-01"]
    assert all((tmp_path / "truth" / path).is_file() for path in truth_paths(("dwi", "asl"), "01", "01"))


def named(*descriptions):
    return [Series(number, name, np.zeros((2, 2, 2)), np.eye(4)) for number, name in enumerate(descriptions)]


def test_a_series_can_be_left_out_for_one_subject():
    omit = [{"subject": "03", "series": "asl_m0scan"}]
    series = named("t1w_mprage", "asl_m0scan")
    assert [one.description for one in acquired(series, "03", omit)] == ["t1w_mprage"]
    assert acquired(series, "01", omit) == series


def test_leaving_out_an_unknown_series_is_refused():
    with pytest.raises(SettingError, match=r"unknown series 'asl_m0'; allowed: t1w_mprage, asl_m0scan"):
        acquired(named("t1w_mprage", "asl_m0scan"), "03", [{"subject": "03", "series": "asl_m0"}])


@pytest.mark.parametrize("name", ["thumbnail", "demo", "full"])
def test_presets_are_valid_settings(root, name):
    blocks = yaml.safe_load((root / f"config/phantom/{name}.yaml").read_text())
    assert set(blocks) == {"phantom_subject", "phantom"}
    for block, values in blocks.items():
        check_block(block, values)
