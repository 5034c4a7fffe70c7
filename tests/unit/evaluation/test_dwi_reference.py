"""Comparison with FSL's results: known differences come back; files and settings are checked."""

import numpy as np
import pandas as pd
import pytest

from scan2map.errors import DataError, SettingError
from scan2map.evaluation.dwi_inputs import FSL_FILES, compared_files, fsl_files, timed_files
from scan2map.evaluation.dwi_reference import compare_fsl, corrected_by, time_rows
from scan2map.evaluation.long_table import read_table
from scan2map.images import Image, save_image

SHAPE, AFFINE = (10, 12, 8), np.diag([3.0, 3.0, 3.0, 1.0])


@pytest.fixture
def files(tmp_path):
    """FSL's results, and ours that differ by known amounts."""
    generator = np.random.default_rng(5)
    mask = np.zeros(SHAPE)
    mask[1:-1, 1:-1, 1:-1] = 1
    fa, md = generator.uniform(0.1, 0.8, SHAPE), generator.uniform(0.6e-3, 0.9e-3, SHAPE)
    b0 = generator.uniform(100, 200, (*SHAPE, 1)) * np.array([1.0, 2.0])
    field = generator.normal(0, 20, SHAPE)
    ours = mask * (np.arange(SHAPE[0]) > 1)[:, None, None]  # one layer less than FSL's
    images = {"fsl_field": field, "fsl_b0": b0, "fsl_mask": mask, "fsl_FA": fa, "fsl_MD": md}
    images |= {"field": field + 2, "b0": b0, "uncorrected_b0": b0, "mask": ours}
    images |= {"FA": (fa + 0.01) * ours, "MD": md * 1.02 * ours}
    paths = {key: tmp_path / f"{key}.nii.gz" for key in images}
    for key, data in images.items():
        save_image(paths[key], data, AFFINE)
    paths["acquisition"] = tmp_path / "acquisition.tsv"
    table = pd.DataFrame({"phase_encoding": ["j", "j-"], "total_readout_time_s": [0.05, 0.05]})
    table.to_csv(paths["acquisition"], sep="\t", index=False)
    return {key: str(path) for key, path in paths.items()}


def benchmark_files(tmp_path, *seconds):
    paths = [tmp_path / f"{index}.tsv" for index in range(len(seconds))]
    for path, value in zip(paths, seconds, strict=True):
        path.write_text(f"s\th:m:s\n{value}\t0:00:01\n")
    return paths


def compare(files, tmp_path, fsl_time_s=100.0):
    out = tmp_path / "fsl.tsv"
    settings = {"edge_voxels": 1, "fsl_time_s": fsl_time_s}
    compare_fsl(files, benchmark_files(tmp_path, 12.0, 6.0), out, subject="1", session="1", settings=settings)
    return read_table(out).set_index(["roi", "metric", "statistic"])["value"]


def test_known_differences_come_back(files, tmp_path):
    found = compare(files, tmp_path)
    assert found["brain", "field_fsl", "pearson_r"] == pytest.approx(1)
    assert found["brain", "field_fsl", "bias"] == pytest.approx(2, rel=1e-3)
    assert found["brain", "mask_fsl", "dice"] == pytest.approx(2 * 7 / (8 + 7))
    for roi in ("brain", "brain_interior"):
        assert found[roi, "FA_fsl", "pearson_r"] == pytest.approx(1)
        assert found[roi, "FA_fsl", "median_absolute_difference"] == pytest.approx(0.01, rel=1e-3)
        assert found[roi, "MD_fsl", "median_relative_error"] == pytest.approx(0.02, rel=1e-3)
    assert found["brain_interior", "opposed_b0_fsl_mask_ours", "pearson_r"] == pytest.approx(1)
    assert found["brain_interior", "opposed_b0_fsl_mask_with_field_of_fsl", "pearson_r"] < 0.99
    assert found["image", "time_fsl", "value"] == 18
    assert found["image", "time_fsl", "ratio"] == pytest.approx(0.18)


def test_without_a_time_of_fsl_there_is_no_ratio(files, tmp_path):
    assert ("image", "time_fsl", "ratio") not in compare(files, tmp_path, fsl_time_s=None).index


def test_without_benchmark_files_there_is_no_time():
    assert list(time_rows(["absent.tsv"], 100.0)) == []


def test_another_grid_is_refused(files, tmp_path):
    save_image(files["FA"], np.ones((5, 5, 5)), AFFINE)
    with pytest.raises(DataError, match="different grids"):
        compare(files, tmp_path)


def test_a_field_moves_the_images_apart_and_back(files):
    generator = np.random.default_rng(2)
    head = np.pad(generator.uniform(1, 2, (10, 6, 8)), ((0, 0), (3, 3), (0, 0)))
    # One voxel: a constant field of 20 Hz at 0.05 s moves j by +1 and j- by -1.
    pair = Image(np.stack([np.roll(head, 1, 1), np.roll(head, -1, 1)], axis=3), AFFINE)
    corrected = corrected_by(np.full(SHAPE, 20.0), pair, files["acquisition"]).data
    assert corrected[..., 0] == pytest.approx(head, abs=1e-4)
    assert corrected[..., 1] == pytest.approx(head, abs=1e-4)


def test_files_of_fsl(monkeypatch, tmp_path):
    assert fsl_files(None) == {}
    monkeypatch.setenv("FSL_RESULTS", str(tmp_path))
    assert fsl_files("$FSL_RESULTS")["fsl_FA"] == str(tmp_path / FSL_FILES["fsl_FA"])
    monkeypatch.delenv("FSL_RESULTS")
    with pytest.raises(SettingError, match="environment variable"):
        fsl_files("$FSL_RESULTS")


def test_without_results_of_fsl_there_is_a_clear_message(tmp_path):
    with pytest.raises(SettingError, match="fsl_reference"):
        compare_fsl({}, [], tmp_path / "x.tsv", subject="1", session="1", settings={})


def test_compared_and_timed_files():
    keys = compared_files(lambda *names, **entities: "path")
    assert set(keys) == {"FA", "MD", "mask", "field", "b0", "uncorrected_b0", "acquisition"}
    assert timed_files("logs/benchmarks", "1", "2")[0] == "logs/benchmarks/estimate_field/sub-1_ses-2.tsv"
