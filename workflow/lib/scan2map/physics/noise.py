"""Measurement noise of magnitude and complex images.

References:
    [1] Gudbjartsson, Patz, Magn Reson Med 34:910 (1995), Rician distribution.
    [2] Koay, Basser, J Magn Reson 179:317 (2006), moments.
"""

from __future__ import annotations

import numpy as np

from scan2map.physics.backend import array_namespace


def complex_gaussian(signal, sigma: float, generator: np.random.Generator):
    """Add independent Gaussian noise of standard deviation sigma to the real and imaginary parts."""
    signal = np.asarray(signal)
    noise = generator.standard_normal((2, *signal.shape), dtype=np.float32)
    return (signal + np.float32(sigma) * (noise[0] + 1j * noise[1])).astype(np.complex64)


def rician(signal, sigma: float, generator: np.random.Generator):
    """Magnitude of a signal with complex Gaussian noise: Rician values, NumPy [1].

    Args:
        signal: noise-free magnitude, any shape.
        sigma: standard deviation of the noise in each of the two channels.
        generator: source of randomness.
    """
    signal = np.asarray(signal, dtype=np.float32)
    noise = generator.standard_normal((2, *signal.shape), dtype=np.float32)
    return rician_magnitude(signal, sigma, noise[0], noise[1])


def rician_magnitude(signal, sigma, real_noise, imaginary_noise):
    """√((S + σ n₁)² + (σ n₂)²) for given standard normal values n₁, n₂; NumPy and torch [1]."""
    xp = array_namespace(signal, real_noise)
    return xp.sqrt((signal + sigma * real_noise) ** 2 + (sigma * imaginary_noise) ** 2)


def rician_mean(signal, sigma: float) -> np.ndarray:
    """Expected magnitude σ √(π/2) L½(−S²/2σ²) of a Rician value [2, eq. 2].

    Args:
        signal: noise-free magnitude.
        sigma: standard deviation of one channel, above 0.
    """
    from scipy.special import ive

    x = np.asarray(signal, dtype=float) ** 2 / (4 * sigma**2)
    return sigma * np.sqrt(np.pi / 2) * ((1 + 2 * x) * ive(0, x) + 2 * x * ive(1, x))
