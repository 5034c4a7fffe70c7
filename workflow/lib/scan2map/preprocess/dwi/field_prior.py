"""What is known of an off-resonance field before any image is seen: it is smooth, and harmonic inside the head.

The field of sources outside a region of even susceptibility solves Laplace's equation in it (Salomir, de Senneville
and Moonen 2003, Concepts Magn Reson B 19:26; it is the ground of background-field removal, Schweser et al. 2011,
NeuroImage 54:2789). Soft tissue is nearly even: the strong sources, air spaces and bone, give no signal. A penalty on
the Laplacian well inside tissue therefore suppresses noise without flattening the steep field beside a sinus, which a
penalty on all second derivatives does. Tissue is not quite even, so the Laplacian gets a Cauchy prior: nearly zero
almost everywhere, and now and then large (a vessel, iron). A weak bending energy keeps the field smooth where nothing
is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import max_pool3d

from scan2map.preprocess.dwi.bspline_field import BSplineField

FULL_SIGNAL = 0.5  # of the mean head intensity: from here on a voxel counts as tissue
MARGIN_MM = 5.0  # nearer than this to air or bone the splines cannot follow the field's kink


def tissue_weight(image: torch.Tensor, spacing_mm: Sequence[float]) -> torch.Tensor:
    """How much each sample lies well inside tissue (0 to 1), judged by the signal around it.

    Args:
        image: undistorted image, mean head intensity one, shape (x, y, z).
        spacing_mm: distance of the samples along each axis.
    """
    weight = (image / FULL_SIGNAL).clamp(0, 1).square()
    reach = [max(round(MARGIN_MM / spacing), 1) for spacing in spacing_mm]
    window = [2 * steps + 1 for steps in reach]
    return -max_pool3d(-weight[None, None], window, stride=1, padding=reach)[0, 0]


def cauchy_weight(values: torch.Tensor, scale: float) -> torch.Tensor:
    """Weights w that make w v^2 / 2 touch the Cauchy penalty log(1 + v^2 / scale^2) / 2 at the given values.

    Iterated, they minimise the penalty (iteratively reweighted least squares; Holland and Welsch 1977, Commun Stat
    Theory Methods 6:813).
    """
    return 1 / (scale**2 + values.square())


class FieldPrior:
    """The quadratic penalty c^T P c on spline coefficients.

    Args:
        basis: the field's splines and sample points.
        bending: weight of the bending energy, summed over all voxels.
        harmonic: weight of the squared Laplacian at each sample point, shape of the sample grid.
    """

    def __init__(self, basis: BSplineField, bending: float, harmonic: torch.Tensor):
        self._basis, self._bending, self._harmonic = basis, bending, harmonic

    def multiply(self, coefficients: torch.Tensor) -> torch.Tensor:
        """P c, half the gradient of the penalty."""
        curved = self._harmonic * self._basis.laplacian(coefficients)
        return self._bending * self._basis.bending(coefficients) + self._basis.laplacian_adjoint(curved)

    def diagonal(self) -> torch.Tensor:
        """The diagonal of P."""
        return self._bending * self._basis.bending_diagonal() + self._basis.laplacian_diagonal(self._harmonic)

    def energy(self, coefficients: torch.Tensor) -> float:
        """The penalty c^T P c."""
        return float((coefficients * self.multiply(coefficients)).sum())
