"""Conventional estimates of the same parameters by independent packages: dipy's MSDKI and SciPy's least squares."""

from __future__ import annotations

import numpy as np

from scan2map.systems.dwi_vae.signal_models import SignalModel, Tissue
from scan2map.systems.dwi_vae.voxels import Acquisition, Voxels


def dipy_msdki(signals: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Mean-signal diffusion and kurtosis by dipy (weighted linear least squares of the logarithm).

    Args:
        signals: (n, m) volumes.
        acquisition: each volume by itself.

    Returns:
        (n, 2): D in mm²/s and K.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.msdki import MeanDiffusionKurtosisModel

    table = gradient_table(acquisition.b_values.numpy(), bvecs=acquisition.directions.numpy())
    fitted = MeanDiffusionKurtosisModel(table).fit(np.asarray(signals, dtype=float))
    return np.stack([fitted.msd, fitted.msk], -1)


def dipy_of_averages(voxels: Voxels) -> Tissue:
    """:func:`dipy_msdki` on direction averages: it averages by itself, so each average stands in for its volumes."""
    import torch

    counts = voxels.acquisition.counts.long()
    shells = voxels.acquisition.b_values.repeat_interleave(counts)
    table = Acquisition(shells, torch.tensor([[1.0, 0.0, 0.0]]).double() * (shells > 0)[:, None], shells)
    found = dipy_msdki(voxels.signals.repeat_interleave(counts, dim=1).numpy(), table)
    values = torch.nn.functional.pad(torch.from_numpy(found), (1, 0), value=1.0)
    return Tissue(values, torch.zeros(len(values), 3).double())


def scipy_least_squares(model: SignalModel, voxels: Voxels) -> np.ndarray:
    """One voxel after another by SciPy's trust-region solver: what batching is measured against.

    Returns:
        (n, p) scalars.
    """
    import torch
    from scipy.optimize import least_squares

    start = model.unbounded(torch.tensor([model.starts()[0]], dtype=torch.float64))[0].numpy()
    found = []
    for index in range(len(voxels)):
        one = voxels.take(slice(index, index + 1))
        weights = one.acquisition.counts.sqrt()

        def residual(free, one=one, weights=weights):
            tissue = model.tissue(torch.from_numpy(free)[None], one.frames)
            return (weights * (model.signal(tissue, one) - one.signals))[0].numpy()

        solution = torch.from_numpy(least_squares(residual, start).x)[None]
        found.append(model.tissue(solution, one.frames).values[0].numpy())
    return np.array(found)
