"""Numbers behind the figures of the diffusion VAE, and pictures that are the same bytes every time."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from scan2map.reporting.plots import image_of_voxels
from scan2map.systems import load_system
from scan2map.systems.dwi_vae import figures
from scan2map.systems.dwi_vae.measured import load_scan
from scan2map.systems.dwi_vae.prediction import ranks
from scan2map.systems.dwi_vae.training import facts_of, load_scans


@pytest.fixture(scope="module")
def untrained(vae_file, vae_settings):
    """Packages of networks before their first step, which is empirical Bayes."""

    def make(snr=20, **network):
        settings = vae_settings(network=network, simulation={"snr": snr, "training_snr": []})
        settings = {key: value for key, value in settings.items() if key != "evaluation"}
        facts = facts_of(load_scans([vae_file], settings), settings)
        member = load_system("dwi_vae").network(settings, facts).eval()
        return SimpleNamespace(settings=settings, members=(member,))

    return make


def test_errors_over_noise_are_those_of_the_lines_variant():
    rows = [
        {"subject": subject, "variant": variant, "method": method, "condition": f"head:snr={snr}", "roi": "tissue",
         "metric": metric, "value": value * factor / snr}
        for subject, factor in (("a", 1.0), ("b", 1.2)) for snr in (5, 20) for metric, _ in figures.PANELS
        for variant, method, value in (("spatial", "nlls", 4.0), ("spatial", "network", 1.0), ("mlp", "nlls", 9.0))
    ]  # fmt: skip
    found = figures.noise_numbers(pd.DataFrame(rows), "spatial").set_index(["line", "metric", "snr"])
    assert found.loc[("NLLS", "D_mse", 20.0), "mean"] == pytest.approx(4.4 / 20)
    assert found.loc[("mixture VAE with neighbours", "K_mse", 5.0), "max"] == pytest.approx(1.2 / 5)
    assert "self-supervised MLP" not in found.index.get_level_values(0)


def test_the_posterior_before_training_covers_the_truth(untrained, vae_file):
    """The mixture is deconvolved from the scan itself; a prior on S0 that was learned gave 0.75 here."""
    package = untrained(snr=60, components=3)  # the likelihood is Gaussian where noise is weak
    scan = load_scan(vae_file, package.settings)
    found = ranks(package.members[0], scan, 39)[:, 1:]
    inside = ((found > 0.05) & (found < 0.95)).double().mean(0)
    assert inside.numpy() == pytest.approx(0.9, abs=0.08)


def test_figures_of_a_head(untrained, vae_file, tmp_path):
    names = {"mlp": {"design": "plain", "width": 8}, "unig": {"components": 1}, "gmm": {}, "": {"spatial": True}}
    packages = {name: untrained(**network) for name, network in names.items()}
    maps = figures.map_numbers(packages, vae_file)
    assert set(maps["map"]) == {"D", "K"}
    assert np.isfinite(maps[list(figures.MAP_COLUMNS)]).all(None)
    latent = figures.latent_numbers(packages["gmm"], vae_file)
    assert {"GM", "WM", "mixed"} <= set(latent["tissue"])
    drawn = {
        "maps": figures.plot_maps(maps),
        "latent": figures.plot_latent(latent),
        "calibration": figures.plot_calibration(figures.calibration_numbers(packages["gmm"], vae_file)),
    }
    for name, figure in drawn.items():
        figures.save_figure(figure, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 8000


def test_a_picture_has_each_voxel_in_its_place():
    rows = pd.DataFrame({"x": [4, 6], "y": [2, 3], "truth": [1.0, 2.0]})
    image = image_of_voxels(rows, "truth")
    assert image.shape == (2, 3)
    assert image[0, 0] == 1.0
    assert image[1, 2] == 2.0
    assert np.isnan(image[0, 2])


def test_samples_are_drawn_from_the_same_seed(untrained, vae_file):
    package = untrained(components=2)
    scan = load_scan(vae_file, package.settings)
    assert torch.equal(*(ranks(package.members[0], scan, 3) for _ in range(2)))
