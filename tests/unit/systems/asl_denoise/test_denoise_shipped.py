"""The package that ships: it removes noise where there is noise, keeps perfusion, and is picky."""

from pathlib import Path

import pytest
import torch

from scan2map.errors import DataError
from scan2map.systems.asl_denoise import protocol, session
from scan2map.systems.asl_denoise.reference import Average
from scan2map.systems.asl_denoise.scenes import build_scene
from scan2map.training.acquisition import check_acquisition
from scan2map.training.package import load_package

SHIPPED = Path("resources/models/asl_denoise")


@pytest.fixture(scope="module")
def package():
    return load_package(SHIPPED)


@pytest.fixture(scope="module")
def scores(package, ball_head, denoise_settings):
    """Figures of the plain and the denoised average of a ball, by method and share of pairs."""
    evaluation = denoise_settings["evaluation"] | {"settings": {"synthetic": {
        "pairs": 40, "post_label_delay_s": 1.8, "label_duration_s": 1.8, "pair_snr": 1.0,
    }}}  # fmt: skip
    scorer = protocol.Scorer({1: package.members[0]}, {**package.settings, "evaluation": evaluation})
    scene = build_scene(ball_head, "ball", "synthetic", evaluation)
    truth, found = Average(scene.slices.clean()), {}
    with torch.inference_mode():
        for share, average, _ in scene.averages([0.2, 0.8]):
            networks = scorer.denoised(average.image, scene)
            for method, image in {"averaging": average.image, **networks}.items():
                for roi, metric, value, *_ in protocol.figures(scene, image, truth.image):
                    found[method, share, roi, metric] = value
    return found


def test_it_holds_two_guided_networks_small_enough_for_git(package):
    assert len(package.members) == 2
    assert package.settings["network"]["design"] == "guided"
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 3e6


@pytest.mark.parametrize(("share", "gain_db"), [(0.2, 4.0), (0.8, 2.0)])
def test_it_removes_noise_at_every_level_with_one_set_of_weights(scores, share, gain_db):
    assert scores["network", share, "brain", "psnr"] > scores["averaging", share, "brain", "psnr"] + gain_db


def test_it_keeps_the_perfusion_of_a_tissue(scores):
    """A shape that it has never seen: a ball of white in a shell of grey matter."""
    assert abs(scores["network", 0.8, "GM", "cbf_bias"]) < 4
    assert abs(scores["network", 0.8, "WM", "cbf_bias"]) < 4


def test_another_acquisition_is_refused(package):
    assert package.config["acquisition"] == session.demands(package.settings)
    found = {
        "labelling": "PASL", "delays": 1, "post_label_delay_s": [1.8], "label_duration_s": [0.7], "voxel_mm": [3, 3],
    }  # fmt: skip
    with pytest.raises(DataError, match=r"label_duration_s = .*labelling = PASL"):
        check_acquisition(package.config["acquisition"], found, package.name)
