"""Numbers behind the figures, and pictures of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from scan2map.systems import load_system
from scan2map.systems.bssfp_dti import figures
from scan2map.systems.bssfp_dti.mean_brain import packed
from scan2map.training.dataset import save_subject

SUFFIXES = {"": 1.0, "_p1": 0.1, "_p25": 0.5, "_p75": 2.0, "_p99": 5.0, "_mean": 1.2, "_sd": 0.4}


@pytest.fixture(scope="module")
def table():
    rows = [
        {"subject": subject, "variant": variant, "method": "network", "condition": "", "roi": roi,
         "metric": metric + suffix, "value": value * factor, "unit": "1", "n": 9}
        for subject, value in (("a", 1.0), ("b", 3.0)) for variant, *_ in figures.BARS for roi in figures.TISSUES
        for metric, _ in figures.PANELS for suffix, factor in SUFFIXES.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_bars_are_means_over_subjects_with_the_quartiles(table):
    found = figures.bar_numbers(table).set_index(["metric", "line", "roi"])
    assert len(found) == len(figures.PANELS) * len(figures.BARS) * 3
    row = found.loc[("axial_angle", "12 cycles, multi-stage", "WM")]
    assert row.tolist() == pytest.approx([2.0, 1.0, 4.0])


def test_distributions_have_a_row_per_region_and_all_percentiles(table):
    found = figures.distributions(table)
    assert len(found) == len(figures.BARS) * 3 * len(figures.PANELS)
    row = found[(found["variant"] == "t1w") & (found["roi"] == "GM") & (found["metric"] == "fa_relative_error")].iloc[0]
    assert [row[name] for name in ("median", *figures.SPREAD)] == pytest.approx([2, 0.2, 1, 4, 10, 2.4, 0.8])


def test_losses_are_the_last_of_each_seed(tmp_path):
    paths = []
    for seed, value in ((1, 0.2), (2, 0.4)):
        path = tmp_path / "multi" / "fold-main" / f"seed-{seed}" / "history.tsv"
        path.parent.mkdir(parents=True)
        pd.DataFrame({"step": [1, 2], "train/l1": [9.0, value], "train/ssim": [9.0, 0.1]}).to_csv(path, sep="\t")
        paths.append(path)
    found = figures.loss_numbers(paths).set_index("part")
    assert found.loc["l1", "loss"] == pytest.approx(0.3)
    assert set(found["variant"]) == {"multi"}
    assert "adversarial" not in found.index


def test_colours_show_where_a_fibre_points():
    along_x = np.array([[1.7, 0, 0, 0.3, 0, 0.3]])
    values = figures.slice_values(along_x)
    assert values["red"] == pytest.approx(values["FA"])
    assert [values[name][0] for name in ("green", "blue")] == pytest.approx([0, 0], abs=1e-6)
    assert values["MD"] == pytest.approx([2.3 / 3])


def test_every_figure_is_written_with_its_numbers(table, arrays, settings, constants, tmp_path, monkeypatch):
    path = tmp_path / "sub-T01.safetensors"
    save_subject(path, arrays)
    modalities = {"template": "template", "t1w": "t1w", "": "pc_bssfp", "autoencoder": "dt"}

    def load(name):
        torch.manual_seed(1)
        design = {"design": "template", "prior_points": 4} if name == "template" else {"prior_points": 4}
        chosen = settings(modality=modalities[name], network=design, stages={"course": "single"})
        facts = constants | {"mean_brain": packed(np.random.default_rng(1).uniform(0.4, 0.6, (7, 4, 4, 4)))}
        network = load_system("bssfp_dti").network(chosen, facts).eval()
        return SimpleNamespace(settings=chosen, normalisation=constants, members=(network,))

    monkeypatch.setattr("scan2map.training.package.load_package", load)
    monkeypatch.setattr(figures, "read_table", lambda _: table)
    history = tmp_path / "multi" / "fold-main" / "seed-1" / "history.tsv"
    history.parent.mkdir(parents=True)
    pd.DataFrame({"step": [1], "train/l1": [0.1], "train/ssim": [0.3]}).to_csv(history, sep="\t")
    names = {name: tmp_path / f"{name}.svg" for name in ("elements", "scalars", "errors", "losses")}
    packages = {name: name for name in figures.MAP_COLUMNS}
    spread = tmp_path / "distributions.tsv"
    figures.plot_validation(["t"], [history], packages, [path], **names, spread=spread)
    for picture in names.values():
        assert picture.stat().st_size > 5000
        assert picture.with_suffix(".png").is_file()
    shown = pd.read_csv(tmp_path / "scalars.tsv", sep="\t")
    assert set(shown["map"]) == {"MD", "FA", *figures.COLOUR_NAMES}
    middle = arrays["mask"].shape[2] // 2
    assert (shown["map"] == "FA").sum() == arrays["mask"][:, :, middle].sum()
    assert spread.is_file()
