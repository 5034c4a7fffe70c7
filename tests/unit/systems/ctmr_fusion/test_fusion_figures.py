"""Figures of the fusion: the numbers behind them are those of the test scans and of the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from scan2map.evaluation.calibration import expected_calibration_error
from scan2map.evaluation.long_table import write_table
from scan2map.evaluation.model_table import model_table
from scan2map.systems.ctmr_fusion import figures, training
from scan2map.training import package as packages

TEST = [f"sub-{name}.safetensors" for name in "ABCD"]


@pytest.fixture
def fused(fusion_head, fusion_settings, monkeypatch):
    monkeypatch.setattr("scan2map.systems.ctmr_fusion.cohort.load_heads", lambda paths: [fusion_head] * len(paths))
    cases = figures.strata_cases(TEST, fusion_settings)
    network = training.build_network(fusion_settings).eval()
    package = packages.Package(Path(), {"settings": fusion_settings}, (network,))
    with torch.inference_mode():
        return {name: figures.fuse(case, package, package, fusion_settings) for name, case in cases.items()}


def row(metric, condition, value, subject="A"):
    return {"subject": subject, "method": "network", "condition": condition, "roi": "brain", "metric": metric,
            "value": value, "unit": "1", "n": 100}  # fmt: skip


@pytest.fixture
def table():
    rows = [row("brain_ssim", f"steps={n}{word}", 0.9) for n in (20, 5) for word in ("", " guided")]
    rows += [row("coverage_50", "", 0.48), row("coverage_90", "", 0.91)]
    return model_table(rows).assign(variant="spatial")


def test_strata_come_in_the_order_of_size(fused):
    assert next(iter(fused)) == "no lesion"
    assert list(fused) == [name for name in figures.STRATA if name in fused]
    assert len(fused) >= 3


def test_the_slice_shows_the_lesion_and_every_image(fused):
    numbers = figures.image_numbers(fused)
    assert set(figures.COLUMNS) <= set(numbers.columns)
    lesions = numbers.groupby("stratum")["expert"].sum()
    assert lesions["no lesion"] == 0
    assert lesions[[name for name in fused if "ml" in name]].max() > 0
    assert numbers["mri"].between(-2, 2).all()
    assert len(figures.plot_images(numbers).axes) >= len(fused) * len(figures.COLUMNS)


def test_reliability_adds_up_to_the_calibration_error(fused):
    numbers = figures.reliability_numbers(fused)
    found = np.concatenate([one.images["lesion"][one.case.scene.brain] for one in fused.values()])
    truth = np.concatenate([one.case.scene.lesion[one.case.scene.brain] for one in fused.values()])
    gaps = (numbers["voxels"] * (numbers["said"] - numbers["seen"]).abs()).sum() / numbers["voxels"].sum()
    assert gaps == pytest.approx(expected_calibration_error(found, truth), abs=1e-6)


def test_steps_are_sorted_and_split_by_guidance(table):
    numbers = figures.step_numbers(table, "spatial")
    assert numbers.groupby("guidance")["steps"].apply(list).to_dict() == {"guided": [5, 20], "unguided": [5, 20]}


def test_all_figures_are_written_with_their_numbers(fused, table, fusion_head, fusion_settings, monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "fuse", lambda case, *rest: fused[case.stratum])
    loaded = packages.Package(Path(), {"settings": fusion_settings}, ())
    monkeypatch.setattr(packages, "load_package", lambda folder: loaded)
    write_table(table, tmp_path / "evaluation.tsv")
    names = ("images", "steps", "calibration")
    outputs = {name: tmp_path / f"{name}.svg" for name in names}
    figures.plot_fusion([tmp_path / "evaluation.tsv"], {"own": "a", "one_pass": "b"}, TEST, own="spatial",
                        settings=fusion_settings, outputs=outputs)  # fmt: skip
    assert all((tmp_path / f"{name}.{kind}").stat().st_size > 100 for name in names for kind in ("svg", "png", "tsv"))
    written = pd.read_csv(tmp_path / "calibration.tsv", sep="\t")
    assert sorted(written[written["figure"] == "coverage"]["said"]) == [0.5, 0.9]
