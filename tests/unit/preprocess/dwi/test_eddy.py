import numpy as np
import pytest
import torch

from scan2map.preprocess.dwi.eddy import TERMS, centred_mm, eddy_basis, eddy_basis_slope, eddy_field

POSITION = torch.tensor(np.random.default_rng(0).uniform(-60, 60, (3, 20)))


def test_terms_are_the_polynomials_they_are_called():
    x, y, z = POSITION
    expected = {"x": x, "yy": y * y, "xz": x * z, "offset": torch.ones_like(x)}
    basis = dict(zip(TERMS, eddy_basis(POSITION), strict=True))
    for name, values in expected.items():
        torch.testing.assert_close(basis[name], values)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slopes_are_the_derivatives(axis):
    ahead, behind = POSITION.clone(), POSITION.clone()
    ahead[axis] += 0.5
    behind[axis] -= 0.5
    # Central differences of quadratics are exact.
    torch.testing.assert_close(eddy_basis_slope(POSITION, axis), eddy_basis(ahead) - eddy_basis(behind))


def test_positions_are_millimetres_from_the_centre():
    corners = torch.tensor([[0.0, 9.0], [0.0, 4.0], [0.0, 0.0]])
    expected = torch.tensor([[-9.0, 9.0], [-6.0, 6.0], [0.0, 0.0]])
    torch.testing.assert_close(centred_mm(corners, (10, 5, 1), [2.0, 3.0, 4.0]), expected)


def test_a_field_is_the_sum_of_its_terms():
    coefficients = np.zeros(10)
    coefficients[TERMS.index("y")], coefficients[TERMS.index("offset")] = 0.2, 5.0
    torch.testing.assert_close(eddy_field(coefficients, POSITION), 0.2 * POSITION[1] + 5)
