"""Chapman–Robbins bound of CBF and transit time: a floor that holds where the Cramér–Rao bound is out of reach.

The Cramér–Rao bound looks at the slopes of the signal at the true parameters alone. Where the signal has kinks (a
transit time that passes a delay), or the noise reaches over several of them, no unbiased estimator attains it. The
bound of Barankin with finitely many test points θ_i holds for every unbiased estimator as well [1, 2]; for Gaussian
noise σ around the signal m with slopes J:

    Cov ≥ H Φ⁻¹ Hᵀ,   H = (1, θ_i − θ),   d_i = m(θ_i) − m(θ),
    Φ = (JᵀJ / σ², Jᵀd_i / σ²; d_jᵀJ / σ², exp(d_iᵀd_j / σ²) − 1)

Without test points it is the Cramér–Rao bound. Any choice of points, and any subspace of Φ, gives a valid bound, so
directions of Φ that are lost to rounding are left out.

References:
    [1] Chapman and Robbins, Ann Math Stat 22:581 (1951).
    [2] McAulay and Hofstetter, IEEE Trans Inf Theory 17:669 (1971).
"""

from __future__ import annotations

import numpy as np

from scan2map.physics.asl_design import LabelDesign
from scan2map.physics.asl_kinetics import cramer_rao_sd, difference_signals, signal_jacobian

# Test points: transit times this many Cramér-Rao standard deviations off, at most MOST_S, each with its best CBF.
STEPS = (-2.0, -1.5, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, 1.5, 2.0)
MOST_S = 1.0
EARLIEST_S = 0.02
# Exponents above this say that the data tell the test point from the truth: it adds nothing.
DISTINCT = 12.0
# Directions of the scaled Φ below this share are rounding.
ROUNDING = 1e-6


def chapman_robbins_sd(design: LabelDesign, cbf, att_s, noise_sd: float, **model) -> tuple[np.ndarray, np.ndarray]:
    """Smallest standard deviation of unbiased estimates of CBF and ATT, never below the Cramér–Rao bound.

    Args:
        design: the volumes, each with the same noise.
        cbf: true perfusion, ml/100g/min, (n,).
        att_s: true transit time, s, (n,).
        noise_sd: σ of one difference volume relative to M0.
        model: ``model``, ``tissue_t1_s`` as in :func:`scan2map.physics.asl_kinetics.signal_jacobian`.

    Returns:
        sd of CBF (ml/100g/min) and of ATT (s), (n,) each; infinite where the Cramér–Rao bound is.
    """
    plain = cramer_rao_sd(design, cbf, att_s, noise_sd, **model)
    signal, by_cbf, by_att = signal_jacobian(design, cbf, att_s, **model)
    step = np.minimum(plain[1], MOST_S)
    away, off = [by_cbf, by_att], [np.stack([one + 0 * step for one in pair]) for pair in ((1.0, 0.0), (0.0, 1.0))]
    for count in STEPS:
        late = np.maximum(att_s + count * step, EARLIEST_S)
        flow = _best_cbf(design, signal, cbf, late, model)
        away.append(difference_signals(design, flow, late, **model) - signal)
        off.append(np.stack([flow - cbf, late - att_s]))
    variance = _bound(np.stack(away) / noise_sd, np.stack(off))
    return tuple(np.maximum(np.sqrt(own), floor) for own, floor in zip(variance, plain, strict=True))


def _best_cbf(design: LabelDesign, signal, cbf, att_s, model) -> np.ndarray:
    """CBF that explains a signal best at another transit time, to first order around the true one."""
    there = difference_signals(design, cbf, att_s, **model)
    power = (there**2).sum(0)
    return np.where(power > 0, cbf * (there * signal).sum(0) / np.where(power > 0, power, 1.0), cbf)


def _bound(away: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Diagonal of H Φ⁺ Hᵀ, (2, n), from slopes and displacements in units of the noise, (points, volumes, n)."""
    overlap = np.einsum("ivn,jvn->nij", away, away)
    near = np.einsum("nii->ni", overlap) < DISTINCT
    near[:, :2] = True
    phi = overlap.copy()
    phi[:, 2:, 2:] = np.expm1(np.clip(overlap[:, 2:, 2:], -DISTINCT, DISTINCT))
    phi *= near[:, :, None] & near[:, None, :]
    size = np.sqrt(np.einsum("nii->ni", phi))
    scale = np.where(size > 0, 1 / np.where(size > 0, size, 1), 0)
    weight, direction = np.linalg.eigh(phi * scale[:, :, None] * scale[:, None, :])
    part = (off.transpose(2, 1, 0) * scale[:, None, :]) @ direction
    inverse = np.where(weight > ROUNDING, 1 / np.where(weight > ROUNDING, weight, 1), 0)
    return np.einsum("nam,nm->an", part**2, inverse)
