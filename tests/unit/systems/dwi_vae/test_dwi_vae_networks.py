"""Networks of the diffusion VAE: divergences against closed forms, the start at the estimate, the blind spot."""

import pytest
import torch

from scan2map.models.mixture_vae import Mixture, MixtureVae, Neighbourhood, PriorStart, combine
from scan2map.models.published_vae import PlainNetwork, PublishedVae

OUTPUTS, VOXELS = 4, 6
LEARNED = (1, 3)  # of the outputs: the first and the last are told relative to the voxel
INNER = LEARNED[1] - LEARNED[0]
FEATURES = OUTPUTS + OUTPUTS**2 + 5
DRAWS = 20_000


def tokens(neighbours=0):
    drawn = torch.randn(VOXELS, 1 + neighbours, FEATURES, generator=torch.Generator().manual_seed(3))
    drawn[..., -1] = 1
    root = drawn[..., OUTPUTS : OUTPUTS + OUTPUTS**2].unflatten(-1, (OUTPUTS, OUTPUTS))
    drawn[..., OUTPUTS : OUTPUTS + OUTPUTS**2] = (root @ root.mT).flatten(-2)
    return drawn


def network(components=1, neighbours=0, latent=6):
    torch.manual_seed(0)
    start = PriorStart(torch.randn(components, INNER), torch.randn(components, INNER), torch.randn(components))
    return MixtureVae(FEATURES, OUTPUTS, LEARNED, latent, start, width=16, depth=2, neighbours=neighbours)


def whole_prior(net):
    """Mean and variance of all outputs for one component: standard normal where nothing is learned."""
    mean, variance = torch.zeros(OUTPUTS), torch.ones(OUTPUTS)
    mean[slice(*LEARNED)], variance[slice(*LEARNED)] = net.centres[0].detach(), net.log_variances[0].detach().exp()
    return mean, variance


def test_training_starts_at_the_posterior_of_estimate_and_prior():
    """One component: precision-weighted mean; with all information, the estimate itself."""
    net, given = network(latent=INNER), tokens()
    precision = given[:, 0, OUTPUTS : OUTPUTS + OUTPUTS**2].unflatten(-1, (OUTPUTS, OUTPUTS))
    mean, variance = whole_prior(net)
    prior = torch.diag(1 / variance)
    right = precision @ given[:, 0, :OUTPUTS, None] + prior @ mean[:, None]
    expected = torch.linalg.solve(precision + prior, right)[..., 0]
    assert torch.allclose(net.decode(net._both(given)[0].mean), expected, atol=1e-4)
    assert torch.allclose(net.read(given, 1).latents, expected[:, slice(*LEARNED)], atol=1e-4)
    spread = net.read(given.repeat(4000, 1, 1), 1).samples[0].unflatten(0, (4000, VOXELS)).std(0)
    exact = torch.linalg.inv(precision + prior).diagonal(dim1=-2, dim2=-1).sqrt()
    assert spread.detach().numpy() == pytest.approx(exact.detach().numpy(), rel=0.06)
    given[..., OUTPUTS : OUTPUTS + OUTPUTS**2] = 1e6 * torch.eye(OUTPUTS).flatten()
    assert torch.allclose(net.decode(net._both(given)[0].mean), given[:, 0, :OUTPUTS], atol=1e-3)


def test_what_is_told_relative_to_the_voxel_keeps_a_wide_prior_that_nothing_moves():
    """Estimates of it are zero in every voxel: a learned prior would shrink onto them and the posterior with it."""
    net, given = network(components=2, neighbours=26), tokens(26)
    torch.nn.init.normal_(net.condition.weight)
    torch.nn.init.normal_(net.outward.weight)
    prior = net.prior(VOXELS, net.context(given))
    assert (prior.means[..., net.latent :] == 0).all()
    assert (prior.log_variances[..., net.latent :] == 0).all()
    latent = torch.randn(5, net.latent + net.fixed)
    assert torch.equal(net.decode(latent)[:, [0, 3]], latent[:, net.latent :])
    matrix, bias = net._linear()
    torch.nn.init.zeros_(net.decoder[-1].weight)
    assert torch.allclose((latent.double() @ matrix.T + bias).float(), net.decode(latent), atol=1e-5)


def test_product_with_a_mixture_has_its_mean_and_variance():
    """In one dimension, against numerical integration."""
    prior = Mixture(torch.tensor([[0.3, 0.7]]).log(), torch.tensor([[[-1.0], [2.0]]]), torch.tensor([[[0.0], [-1.0]]]))
    grid = torch.linspace(-10, 10, 20001)[:, None]
    same = Mixture(*(part.expand(len(grid), *part.shape[1:]) for part in prior))
    density = (same.log_joint(grid).logsumexp(-1) - 0.5 * 1.5 * (grid[:, 0] - 0.4) ** 2).exp()
    weights = density / density.sum()
    mean = (weights * grid[:, 0]).sum()
    found = combine(torch.tensor([[[1.5]]]), torch.tensor([[0.6]]), prior)
    assert found.mean.item() == pytest.approx(mean.item(), rel=1e-3)
    assert found.factor.item() ** 2 == pytest.approx((weights * (grid[:, 0] - mean) ** 2).sum().item(), rel=1e-3)


def test_strong_and_rounded_information_stays_usable():
    """Nearly singular matrices of single precision, as at high signal-to-noise ratio."""
    net, given = network(components=3), tokens()
    one = torch.randn(VOXELS, OUTPUTS, 1, generator=torch.Generator().manual_seed(2))
    given[:, 0, OUTPUTS : OUTPUTS + OUTPUTS**2] = (1e8 * one @ one.mT).flatten(1)
    found, divergence = net.draw(given)
    (found.square().sum() + divergence.sum()).backward()
    assert torch.isfinite(found).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_divergence_from_one_gaussian_is_the_closed_form():
    net, given = network(latent=INNER), tokens()
    with torch.no_grad():
        net.centres.uniform_(-1, 1)
        posterior = net.posterior(given, None, net.prior(VOXELS, None))
        drawn = net.draw(given.repeat(DRAWS, 1, 1))[1].reshape(DRAWS, VOXELS).mean(0)
        mean, variance = torch.zeros(OUTPUTS), torch.ones(OUTPUTS)
        mean[:INNER], variance[:INNER] = net.centres[0], net.log_variances[0].exp()  # z begins with what is learned
        prior = torch.distributions.MultivariateNormal(mean, torch.diag(variance))
        told = torch.distributions.MultivariateNormal(posterior.mean, scale_tril=posterior.factor)
        exact = torch.distributions.kl_divergence(told, prior)
    assert drawn.numpy() == pytest.approx(exact.numpy(), rel=0.03)


def test_mixture_prior_is_that_of_torch_distributions():
    net = network(components=3)
    latent = torch.randn(5, 6 + net.fixed)
    found = net.prior(5, None).log_joint(latent).logsumexp(-1)
    parts = torch.distributions.Independent(torch.distributions.Normal(net.centres, (0.5 * net.log_variances).exp()), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=net.logits), parts)
    fixed = torch.distributions.Normal(0.0, 1.0).log_prob(latent[:, 6:]).sum(-1)
    assert torch.allclose(found, mixture.log_prob(latent[:, :6]) + fixed, atol=1e-5)


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
    reading = net.read(tokens(), 3)
    assert reading.samples.shape == (3, VOXELS, OUTPUTS)
    assert reading.membership.sum(-1).detach().numpy() == pytest.approx(1)


def test_published_divergence_of_one_component_is_that_from_the_standard_normal():
    torch.manual_seed(1)
    net, given = PublishedVae(FEATURES, OUTPUTS, latent=5, components=1, width=16), tokens()
    with torch.no_grad():
        drawn = net.draw(given.repeat(DRAWS, 1, 1))[1].reshape(DRAWS, VOXELS).mean(0)
        mean, log_variance, _, _ = net.posterior(net.encoder(given[:, 0]), lambda logits: logits.softmax(-1))
    exact = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
    assert drawn.numpy() == pytest.approx(exact.numpy(), rel=0.05, abs=0.02)


def test_plain_network_has_no_spread():
    net = PlainNetwork(FEATURES, OUTPUTS, 16)
    drawn = net.read(tokens(), 4).samples
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
