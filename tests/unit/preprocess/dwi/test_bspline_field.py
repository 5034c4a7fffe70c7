"""The spline field against polynomials, whose derivatives and bending energy are known, and its adjoints."""

import numpy as np
import pytest
import torch

from scan2map.preprocess.dwi.bspline_field import BSplineField
from scan2map.preprocess.dwi.field_prior import FieldPrior, cauchy_weight, tissue_weight

SHAPE, SIZE_MM = (9, 12, 7), (2.0, 2.5, 3.0)
POSITIONS = [np.arange(length) for length in SHAPE]
X, Y, Z = (grid * size for grid, size in zip(np.meshgrid(*POSITIONS, indexing="ij"), SIZE_MM, strict=True))


@pytest.fixture(scope="module")
def basis():
    return BSplineField(SHAPE, POSITIONS, (2.0, 3.0, 1.5), SIZE_MM, (1,), torch.float64)


def fitted(basis, values):
    return basis.fit(torch.as_tensor(values))


def inner_voxels(values):
    return np.asarray(values)[1:-1, 1:-1, 1:-1]


def test_cubic_polynomials_are_reproduced_with_their_slope(basis):
    wanted = X * Y - 0.1 * Y**3 + Z
    coefficients = fitted(basis, wanted)
    value, slope = basis.components(coefficients)
    assert np.allclose(value, wanted, atol=1e-6)
    assert np.allclose(slope, (X - 0.3 * Y**2) * SIZE_MM[1], atol=1e-5)  # per voxel
    assert np.allclose(basis.slope(coefficients, 2), SIZE_MM[2], atol=1e-6)


def test_bending_energy_of_a_quadratic(basis):
    """f = x²/2 + yz: f_xx = 1 and f_yz = f_zy = 1, so the energy is three per voxel between the edge voxels."""
    coefficients = fitted(basis, X**2 / 2 + Y * Z)
    energy = float((coefficients * basis.bending(coefficients)).sum())
    assert energy == pytest.approx(3 * np.prod([length - 1 for length in SHAPE]), rel=1e-5)


def test_bending_energy_of_a_plane_is_zero(basis):
    coefficients = fitted(basis, 3 * X - 2 * Y + Z + 7)
    assert float((coefficients * basis.bending(coefficients)).sum()) == pytest.approx(0, abs=1e-8)


def test_laplacian_of_harmonic_and_other_polynomials(basis):
    assert np.allclose(basis.laplacian(fitted(basis, X**2 - Y**2 + 4 * X * Z)), 0, atol=1e-6)
    assert np.allclose(basis.laplacian(fitted(basis, X**2 + Y**2 + Z**2)), 6, atol=1e-6)


def test_prior_lets_harmonic_fields_pass(basis):
    prior = FieldPrior(basis, 0.0, torch.full(SHAPE, 5.0, dtype=torch.float64))
    assert prior.energy(fitted(basis, X * Y)) == pytest.approx(0, abs=1e-8)
    assert prior.energy(fitted(basis, X**2 / 2)) == pytest.approx(5 * np.prod(SHAPE), rel=1e-6)


def test_adjoints_and_diagonals(basis):
    random = torch.Generator().manual_seed(0)
    coefficients = torch.randn(basis.shape, generator=random, dtype=torch.float64)
    fields = [torch.randn(SHAPE, generator=random, dtype=torch.float64) for _ in range(2)]
    forward = sum((a * b).sum() for a, b in zip(basis.components(coefficients), fields, strict=True))
    assert forward == pytest.approx(float((coefficients * basis.adjoint(fields)).sum()))
    curved = (basis.laplacian(coefficients) * fields[0]).sum()
    assert curved == pytest.approx(float((coefficients * basis.laplacian_adjoint(fields[0])).sum()))


def test_diagonals_are_those_of_the_matrices(basis):
    weight = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior = FieldPrior(basis, 0.3, weight)
    for place in [(0, 0, 0), (2, 3, 1), (3, 2, 4)]:
        unit = basis.zeros()
        unit[place] = 1
        components = basis.components(unit)
        data = sum((weight * a * b).sum() for a in components for b in components)
        pairs = {(0, 0): weight, (0, 1): weight, (1, 1): weight}
        assert basis.diagonal(pairs)[place] == pytest.approx(float(data))
        assert prior.diagonal()[place] == pytest.approx(prior.energy(unit))


def test_tissue_is_where_all_neighbours_have_signal():
    image = torch.zeros(9, 9, 9)
    image[1:8, 1:8, 1:8] = 1
    weight = tissue_weight(image, (5.0, 5.0, 2.5))
    assert weight[4, 4, 4] == 1
    assert weight[2, 2, 3] == 1
    assert weight[1, 4, 4] == 0
    assert weight[4, 4, 2] == 0


def test_cauchy_weights_give_the_slope_of_the_penalty():
    values = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    torch.log1p(values.square() / 0.7**2).sum().div(2).backward()
    assert torch.allclose(values.grad, cauchy_weight(values, 0.7) * values)
