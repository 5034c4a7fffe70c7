"""What each design is by construction: equivariant, local, told of its labels, or blind."""

import pytest
import torch

from scan2map.phantom.slices.perfusion import seeded
from scan2map.phantom.slices.tissue import random_tissue
from scan2map.systems.asl_quantnet.estimators import amplitude_statistics, build_estimator
from scan2map.systems.asl_quantnet.prediction import predict_ensemble
from scan2map.systems.asl_quantnet.simulator import simulate

DESIGNS = ("local", "film", "groupnorm")


def _estimator(settings, design, seed=0, **network):
    """An estimator with random weights everywhere: its head starts at zero, which would hide what it depends on."""
    torch.manual_seed(seed)
    built = build_estimator(settings | {"network": settings["network"] | {"design": design, **network}})
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return built.eval()


@pytest.fixture(scope="module")
def scan(thumbnail_settings, delays):
    fractions = random_tissue(2, 40, seeded(1))
    return simulate(fractions, torch.full((2,), 3.0), thumbnail_settings["simulation"], delays, seeded(2))


def _run(estimator, scan, scale=1.0):
    with torch.no_grad():
        return estimator(scan.difference * scale, scan.mask, scan.labelling)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("size", [(40, 40), (33, 27)])
def test_shapes(thumbnail_settings, scan, design, size):
    part = scan._replace(
        difference=scan.difference[..., : size[0], : size[1]], mask=scan.mask[..., : size[0], : size[1]]
    )
    found = _run(_estimator(thumbnail_settings, design), part)
    assert all(image.shape == (2, 1, *size) for image in found)
    assert all(bool(torch.isfinite(image).all()) for image in found)


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 4.0])
def test_local_design_is_equivariant_exactly(thumbnail_settings, scan, scale):
    estimator = _estimator(thumbnail_settings, "local")
    one, other = _run(estimator, scan), _run(estimator, scan, scale)
    assert torch.equal(other.cbf, one.cbf * scale)
    assert torch.equal(other.att_s, one.att_s)
    assert torch.equal(other.log_sd_cbf, one.log_sd_cbf)


def test_local_design_sees_a_bounded_neighbourhood(thumbnail_settings, scan):
    estimator = _estimator(thumbnail_settings, "local")
    reach = thumbnail_settings["network"]["local"]["blocks"] + 4
    changed = scan._replace(difference=scan.difference.clone())
    changed.difference[:, :, 0, 0] *= 3
    one, other = _run(estimator, scan), _run(estimator, changed)
    assert torch.allclose(one.cbf[..., reach + 1 :, :], other.cbf[..., reach + 1 :, :], rtol=1e-5, atol=1e-4)
    assert not torch.allclose(one.cbf[..., :3, :3], other.cbf[..., :3, :3])


def test_groupnorm_design_is_blind_to_amplitude_whatever_its_weights(thumbnail_settings, scan):
    estimator = _estimator(thumbnail_settings, "groupnorm", labels_given=False)
    one, other = _run(estimator, scan), _run(estimator, scan, 4.0)
    assert float(one.cbf.std()) > 0
    assert torch.allclose(other.cbf, one.cbf, rtol=2e-3)


def test_film_design_sees_amplitude_but_globally(thumbnail_settings, scan):
    estimator = _estimator(thumbnail_settings, "film")
    assert not torch.allclose(_run(estimator, scan).cbf, _run(estimator, scan, 4.0).cbf, rtol=1e-2)
    changed = scan._replace(difference=scan.difference.clone())
    changed.difference[..., :4, :] = 0
    assert not torch.allclose(
        _run(estimator, scan).cbf[..., -1, :], _run(estimator, changed).cbf[..., -1, :], rtol=1e-4
    )


def test_amplitude_statistics_of_a_constant_image(delays):
    difference = torch.cat([torch.full((1, 6, 4, 4), 0.004), torch.full((1, 6, 4, 4), 0.002)], 1)
    found = amplitude_statistics(difference, torch.ones(1, 1, 4, 4), delays)[0].exp()
    assert found[[0, 2, 3, 5]].tolist() == pytest.approx([4, 4, 2, 2], rel=1e-4)
    assert float(found[6]) == pytest.approx(2.0, rel=1e-4)


def test_hidden_labels_are_not_read(thumbnail_settings, scan):
    other = scan._replace(labelling=scan.labelling._replace(pcasl_efficiency=scan.labelling.pcasl_efficiency * 0.5))
    given, hidden = (_estimator(thumbnail_settings, "local", labels_given=flag) for flag in (True, False))
    assert torch.equal(_run(hidden, scan).cbf, _run(hidden, other).cbf)
    assert not torch.allclose(_run(given, scan).cbf, _run(given, other).cbf, rtol=1e-2)


def test_ensemble_mean_and_mixture_spread(thumbnail_settings, scan):
    members = [_estimator(thumbnail_settings, "local", seed) for seed in (0, 1)]
    found = predict_ensemble(members, scan.difference, scan.mask, scan.labelling)
    single = [_run(member, scan) for member in members]
    mean = (single[0].cbf + single[1].cbf) / 2
    assert torch.allclose(found.cbf, mean.clamp_min(0) * scan.mask, atol=1e-4)
    variances = [(one.log_sd_cbf.exp() * one.unit).square() for one in single]
    expected = (sum(variances) / 2 + (single[0].cbf - single[1].cbf).square() / 4).sqrt() * scan.mask
    assert torch.allclose(found.sd_cbf, expected, rtol=1e-4, atol=1e-4)
    assert float(found.cbf.min()) >= 0


def test_a_short_training_learns_and_leaves_groupnorm_blind(thumbnail_settings, delays, ball_head):
    """The document's failure: after training, perfusion follows amplitude with slope 0 for GroupNorm, with 1 here."""
    from torch.utils.data import default_collate

    from scan2map.phantom.slices.tissue import TissueSlices
    from scan2map.systems.asl_quantnet.training import QuantModule
    from scan2map.training.stream import Samples

    slopes = {}
    for design in ("groupnorm", "local"):
        settings = thumbnail_settings | {
            "network": thumbnail_settings["network"] | {"design": design, "labels_given": design == "local"}
        }
        torch.manual_seed(1)
        module = QuantModule(build_estimator(settings), {}, settings)
        samples = Samples(TissueSlices([ball_head], settings["simulation"]), 1)
        optimiser = torch.optim.Adam(module.parameters(), 3e-3)
        history = []
        for step in range(25):
            batch = default_collate([samples[4 * step + index] for index in range(4)])
            loss = module.scored(batch, seeded(7, step))["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            history.append(loss.item())
        assert sum(history[-5:]) < sum(history[:5])
        scan = simulate(batch["fractions"], batch["voxel_mm"], settings["simulation"], delays, seeded(3))
        module.network.eval()
        means = [float(_run(module.network, scan, scale).cbf[scan.mask > 0].mean()) for scale in (0.25, 4.0)]
        slopes[design] = float(torch.tensor(means[1] / means[0]).log() / torch.tensor(16.0).log())
    assert abs(slopes["groupnorm"]) < 0.05
    assert slopes["local"] == pytest.approx(1.0, abs=1e-4)
