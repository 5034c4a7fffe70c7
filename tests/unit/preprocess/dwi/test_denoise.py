import numpy as np

from scan2map.preprocess.dwi.denoise import clean, remove_ringing


def test_ringing_at_an_edge_is_reduced():
    size, kept = 128, 48
    edge = np.zeros((size, size))
    edge[40:88, 40:88] = 1000.0
    spectrum = np.fft.fftshift(np.fft.fft2(edge))
    centre = slice(size // 2 - kept // 2, size // 2 + kept // 2)
    ringing = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum[centre, centre]))) * (kept / size) ** 2
    volume = np.repeat(ringing[:, :, None, None], 2, axis=2).astype(np.float32)
    cleaned = remove_ringing(volume)
    # The square's middle is flat in truth; what varies there is ringing.
    inner = (slice(18, 30), slice(18, 30))
    assert cleaned[inner].std() < 0.6 * volume[inner].std()
    assert abs(cleaned[inner].mean() / volume[inner].mean() - 1) < 0.01


def test_nothing_is_done_unasked():
    data = np.random.default_rng(0).normal(size=(4, 4, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(clean(data, {"denoising": "none", "gibbs_removal": False}), data)


def test_noise_that_few_components_do_not_explain_is_removed():
    rng = np.random.default_rng(0)
    amplitude = 1 + rng.random((9, 9, 9, 2))
    exact = amplitude @ rng.normal(100, 30, (2, 30))
    noisy = (exact + rng.normal(0, 10, exact.shape)).astype(np.float32)
    cleaned = clean(noisy, {"denoising": "mppca", "gibbs_removal": False})
    before, after = (np.sqrt(np.mean((image - exact) ** 2)) for image in (noisy, cleaned))
    assert after < 0.5 * before
