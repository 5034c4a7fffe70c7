"""Networks of the diffusion VAE: divergences against closed forms, the start at the estimate, the blind spot."""

import pytest
import torch

from scan2map.models.mixture_vae import MixtureVae, Neighbourhood
from scan2map.models.published_vae import PlainNetwork, PublishedVae

FEATURES, OUTPUTS, VOXELS = 9, 4, 6
DRAWS = 20_000


def tokens(neighbours=0):
    drawn = torch.randn(VOXELS, 1 + neighbours, FEATURES, generator=torch.Generator().manual_seed(3))
    drawn[..., -1] = 1
    return drawn


def network(components=1, neighbours=0, latent=6):
    torch.manual_seed(0)
    centres = torch.randn(components, OUTPUTS)
    return MixtureVae(FEATURES, OUTPUTS, latent, centres, width=16, depth=2, neighbours=neighbours)


def test_training_starts_at_the_estimate():
    net, given = network(components=3), tokens()
    assert torch.allclose(net.decode(net.latents(given)), given[:, 0, :OUTPUTS])


def test_divergence_from_one_gaussian_is_the_closed_form():
    net, given = network(), tokens()
    with torch.no_grad():
        net.centres.uniform_(-1, 1)
        mean, log_variance = net.posterior(given, None)
        drawn = net.draw(given.repeat(DRAWS, 1, 1))[1].reshape(DRAWS, VOXELS).mean(0)
        prior = torch.distributions.Normal(net.centres[0], (0.5 * net.log_variances[0]).exp())
        exact = torch.distributions.kl_divergence(torch.distributions.Normal(mean, (0.5 * log_variance).exp()), prior)
    assert drawn.numpy() == pytest.approx(exact.sum(-1).numpy(), rel=0.03)


def test_mixture_prior_is_that_of_torch_distributions():
    net = network(components=3)
    latent = torch.randn(5, 6)
    found = net.prior(5, None).log_joint(latent).logsumexp(-1)
    parts = torch.distributions.Independent(torch.distributions.Normal(net.centres, (0.5 * net.log_variances).exp()), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=net.logits), parts)
    assert torch.allclose(found, mixture.log_prob(latent), atol=1e-5)


def test_the_prior_does_not_see_the_voxel_itself():
    net, given = network(components=2, neighbours=26), tokens(26)
    torch.nn.init.normal_(net.condition.weight)
    before = net.prior(VOXELS, net.context(given))
    other = given.clone()
    other[:, 0, :-1] += 1.0
    after = net.prior(VOXELS, net.context(other))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    other[:, 5, :-1] += 1.0
    assert not torch.allclose(net.prior(VOXELS, net.context(other)).means, after.means)


def test_absent_neighbours_say_nothing():
    attention = Neighbourhood(FEATURES, 26, 16)
    given = tokens(26)[:, 1:]
    given[:, 3:9, -1] = 0
    other = given.clone()
    other[:, 3:9, :-1] = 7.0
    assert torch.allclose(attention(given), attention(other), atol=1e-5)


def test_a_voxel_without_neighbours_is_finite():
    net, given = network(components=2, neighbours=26), tokens(26)
    given[:, 1:] = 0
    assert torch.isfinite(net.draw(given)[0]).all()


@pytest.mark.parametrize("latent", [1, 4, 12])
def test_any_latent_size(latent):
    net = network(components=2, latent=latent)
    assert net.samples(tokens(), 3).shape == (3, VOXELS, OUTPUTS)
    assert net.membership(tokens()).sum(-1).detach().numpy() == pytest.approx(1)


def test_published_divergence_of_one_component_is_that_from_the_standard_normal():
    torch.manual_seed(1)
    net, given = PublishedVae(FEATURES, OUTPUTS, latent=5, components=1, width=16), tokens()
    with torch.no_grad():
        drawn = net.draw(given.repeat(DRAWS, 1, 1))[1].reshape(DRAWS, VOXELS).mean(0)
        mean, log_variance, _, _ = net.posterior(given, lambda logits: logits.softmax(-1))
    exact = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
    assert drawn.numpy() == pytest.approx(exact.numpy(), rel=0.05, abs=0.02)


def test_plain_network_has_no_spread():
    net = PlainNetwork(FEATURES, OUTPUTS, 16)
    drawn = net.samples(tokens(), 4)
    assert drawn.std(0).abs().max() < 1e-6
    assert net.draw(tokens())[1].abs().max() == 0


@pytest.mark.parametrize("neighbours", [0, 26])
def test_gradients_reach_every_weight(neighbours):
    net = network(components=2, neighbours=neighbours)
    for last in (net.encoder[-1], net.decoder[-1]):
        torch.nn.init.normal_(last.weight, std=0.1)
    if neighbours:
        torch.nn.init.normal_(net.condition.weight, std=0.1)
    found, divergence = net.draw(tokens(neighbours))
    (found.square().sum() + divergence.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in net.parameters())
