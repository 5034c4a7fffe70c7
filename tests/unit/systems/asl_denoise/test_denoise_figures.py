"""Table 1 and figures 2 to 4: numbers from known rows, and pictures with the same bytes each time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scan2map.evaluation.model_table import model_table
from scan2map.reporting.plots import save_figure
from scan2map.systems.asl_denoise import figures, table

BOOTSTRAP = {"confidence": 0.95, "resamples": 200, "seed": 1}
METHODS = figures.METHODS


def _rows():
    """PSNR 20 for averaging, 25 for the dilated network, 26 for λ = 0.5, plus 0.1 per subject."""
    levels = {("shipped", "averaging"): 20.0, ("shipped", "network"): 27.0}
    levels |= {("dilated", f"seed-{seed}"): 25.0 for seed in (1, 2)}
    levels |= {("lambda05", f"seed-{seed}"): 26.0 for seed in (1, 2)}
    for (variant, method), value in levels.items():
        for place, subject in enumerate(("L17", "L18", "L19")):
            for share in (20, 40):
                for metric in table.METRICS:
                    yield {
                        "variant": variant, "method": method, "subject": subject, "metric": metric, "unit": "x",
                        "condition": f"synthetic share={share}", "value": value + 0.1 * place, "n": 5,
                    }  # fmt: skip


@pytest.fixture
def published():
    return pd.read_csv(Path("resources/published/ulas2018_table1.tsv"), sep="\t")


def test_table_puts_our_numbers_beside_the_published(published):
    numbers = table.table_numbers(model_table(_rows()), "shipped", published, BOOTSTRAP)
    line = numbers.set_index(["acquisition", "method", "metric"]).loc[("synthetic", "lambda05", "psnr")]
    assert line["mean"] == pytest.approx(26.1)
    assert line["published_mean"] == 26.9
    assert line["difference_from_dilated"] == pytest.approx(1.0)
    assert (line["subjects_from_dilated"], line["seeds_from_dilated"]) == (3, 2)
    package = numbers[numbers["method"] == "package"]
    assert package["published_mean"].isna().all()


def test_rows_against_other_pairs_are_not_in_the_table():
    rows = model_table(_rows())
    other = rows.assign(condition="synthetic share=20 other pairs")
    assert len(table.scored(pd.concat([rows, other], ignore_index=True))) == len(rows)


def _images(scene):
    truth = scene.slices.clean()
    return {name: truth * (1 + 0.1 * place) for place, name in enumerate(METHODS)} | {"truth": truth}


def test_figures_are_drawn_from_their_numbers(denoise_scene, tmp_path, published):
    images = _images(denoise_scene)
    numbers = figures.slice_numbers(denoise_scene, images)
    assert (numbers["averaging"] == numbers["truth"]).all()
    voxels, statistics = figures.agreement_numbers(denoise_scene, images)
    assert statistics.set_index("method").loc["averaging", "bias"] == 0
    noisy = numbers.assign(averaging=numbers["truth"] + 0.1)
    drawn = [
        (figures.plot_slices, (noisy,)),
        (figures.plot_agreement, (voxels, statistics)),
        (table.plot_table, (table.table_numbers(model_table(_rows()), "shipped", published, BOOTSTRAP),)),
    ]
    for name in ("first", "second"):
        for place, (plot, given) in enumerate(drawn):
            save_figure(plot(*given), tmp_path / f"{name}{place}.png")
    for place in range(len(drawn)):
        assert (tmp_path / f"first{place}.png").read_bytes() == (tmp_path / f"second{place}.png").read_bytes()


def test_bland_altman_of_a_scaled_map(denoise_scene):
    _, statistics = figures.agreement_numbers(denoise_scene, _images(denoise_scene))
    slopes = statistics.set_index("method")["slope"]
    assert slopes["Gaussian 1 px"] == pytest.approx(0.1 / 1.05, abs=1e-3)
    assert np.isfinite(statistics["ccc"]).all()
