"""A plain tensor fit of an uncorrected series by an independent package: the yardstick of the b-table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scan2map.preprocess.dwi.gradients import GradientTable, require_tensor_directions


class PlainTensor(NamedTuple):
    """FA (ratio) and MD (mm²/s) on the grid of the series, zero outside the mask."""

    fa: np.ndarray
    md: np.ndarray


def fit_plain_tensor(
    data: np.ndarray, mask: np.ndarray, gradients: GradientTable, *, method: str = "WLS", file=None
) -> PlainTensor:
    """Log-linear least squares by dipy, without motion, distortion or eddy correction.

    FA and MD do not change when all b-vectors are turned or mirrored together, so the frame of the b-table does not
    matter here.

    Args:
        data: (x, y, z, t).
        mask: (x, y, z), where to fit.
        gradients: table of the t volumes.
        method: ``WLS`` (weighted) or ``OLS`` (as scanners do).
        file: the series, for messages.

    Raises:
        DataError: the table cannot determine a tensor.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    require_tensor_directions(gradients, file)
    table = gradient_table(gradients.b_values, bvecs=gradients.b_vectors, b0_threshold=gradients.b0_threshold)
    fit = TensorModel(table, fit_method=method).fit(data, mask=np.asarray(mask, dtype=bool))
    return PlainTensor(np.nan_to_num(fit.fa), np.nan_to_num(fit.md))
