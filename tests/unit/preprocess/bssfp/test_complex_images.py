"""Phase scales, global phase, ringing and resampling of complex images against cases with a known answer."""

import numpy as np
import pytest

from scan2map.errors import DataError
from scan2map.images import Image
from scan2map.preprocess.bssfp import complex_images as bssfp
from scan2map.preprocess.registration import Transform


@pytest.fixture
def images():
    rng = np.random.default_rng(3)
    shape = (6, 7, 5, 4)
    return (rng.uniform(1, 2, shape) * np.exp(1j * rng.uniform(-1, 1, shape))).astype(np.complex64)


def test_stored_phase_covers_the_circle_once():
    raw = np.array([0, 1024, 2048, 4095.0])
    expected = np.array([-np.pi, -np.pi / 2, 0, np.pi * (1 - 2 / 4096)])
    assert bssfp.phase_radians(raw, "arbitrary") == pytest.approx(expected)
    assert bssfp.phase_radians(2 * raw - 4096, "arbitrary") == pytest.approx(expected)
    assert bssfp.phase_radians(expected, "rad") == pytest.approx(expected)


@pytest.mark.parametrize(("high", "units"), [(5000.0, "arbitrary"), (4095.0, "rad"), (3.0, "arbitrary")])
def test_phase_of_unknown_scale_is_refused(high, units):
    with pytest.raises(DataError, match="no known scale"):
        bssfp.phase_radians(np.array([0.0, high]), units)


def test_global_phase_of_a_cycle_does_not_matter(images):
    offsets = np.exp(1j * np.array([0.0, 2.5, -1.3, 3.0])).astype(np.complex64)
    corrected = bssfp.correct_global_phase(images)
    assert bssfp.correct_global_phase(images * offsets) == pytest.approx(corrected, abs=1e-5)
    assert np.angle(corrected.sum((0, 1, 2))) == pytest.approx(0, abs=1e-4)
    assert np.abs(corrected) == pytest.approx(np.abs(images), rel=1e-5)


def truncated(box, keep):
    """A box as measured with the lowest frequencies alone: it rings."""
    spectrum = np.fft.fftshift(np.fft.fft2(box))
    low = (len(box) - keep) // 2
    return np.fft.ifft2(np.fft.ifftshift(spectrum[low:-low, low:-low])) * (keep / len(box)) ** 2


def test_gibbs_ringing_of_both_parts_shrinks():
    box = np.zeros((256, 256))
    box[70:180, 60:190] = 1
    ringing = truncated(box, 64) * np.exp(0.6j)
    images = np.repeat(ringing[:, :, None, None], 2, axis=3).astype(np.complex64)
    inside = (slice(20, 42), slice(18, 44), 0, 1)
    before = np.abs(images[inside] - np.exp(0.6j)).max()
    after = np.abs(bssfp.remove_gibbs(images)[inside] - np.exp(0.6j)).max()
    assert after < 0.5 * before


def test_complex_resampling_keeps_what_phase_averaging_would_lose():
    """Two neighbours at phases just below π and just above −π: their mean is −1, not a phase of zero."""
    data = np.exp(1j * np.array([np.pi - 0.1, -np.pi + 0.1])).astype(np.complex64).reshape(2, 1, 1, 1)
    coarse = np.diag([2.0, 1.0, 1.0, 1.0])
    coarse[0, 3] = 0.5
    grid = Image(np.zeros((1, 1, 1)), coarse)
    value = bssfp.resample_complex(Image(data, np.eye(4)), grid, Transform()).data.item()
    assert value == pytest.approx(-np.cos(0.1), abs=1e-5)


def test_channels_alternate_between_magnitude_and_phase(images):
    channels = bssfp.interleave(np.concatenate([images] * 3, axis=-1))
    assert channels.shape == (6, 7, 5, 24)
    assert channels[..., 2] == pytest.approx(np.abs(images[..., 1]))
    assert channels[..., 3] == pytest.approx(np.angle(images[..., 1]))
