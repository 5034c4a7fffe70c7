"""T1-weighted series of the ball."""

import numpy as np
import pytest

from scan2map.phantom.acquisition import anat
from scan2map.physics.relaxation import InversionProtocol, ReadoutTrain, inversion_recovery_trains


def by_name(scan):
    return {one.description: one for one in scan.series}


def middle(image):
    return image[tuple(n // 2 for n in image.shape)]


def test_all_series_of_the_protocol_are_there(make_scanner):
    assert list(by_name(anat.acquire(make_scanner()))) == [
        "localizer", "mp2rage_INV1", "mp2rage_INV1_PHASE", "mp2rage_INV2", "mp2rage_INV2_PHASE", "mp2rage_UNI",
        "t1w_mprage",
    ]  # fmt: skip


def test_inversion_images_are_the_sequence_of_white_matter(make_scanner):
    series = by_name(anat.mp2rage(make_scanner()))
    protocol = InversionProtocol(5.0, 0.007, 160, (ReadoutTrain(0.7, 4.0), ReadoutTrain(2.5, 5.0)))
    expected = [
        anat.GAIN * 0.7 * np.exp(-0.00298 / 0.05) * value
        for value in inversion_recovery_trains(np.float64(0.85), protocol)
    ]
    for index, value in enumerate(expected, start=1):
        assert middle(series[f"mp2rage_INV{index}"].data) == pytest.approx(abs(value), rel=1e-3)
    uniform = expected[0] * expected[1] / (expected[0] ** 2 + expected[1] ** 2)
    assert middle(series["mp2rage_UNI"].data) == pytest.approx(4095 * (uniform + 0.5), rel=1e-3)


def test_phase_images_carry_the_sign_of_the_first_inversion(make_scanner):
    series = by_name(anat.mp2rage(make_scanner()))
    turn = np.angle(np.exp(1j * (series["mp2rage_INV1_PHASE"].data - series["mp2rage_INV2_PHASE"].data)))
    wm = tuple(n // 2 for n in turn.shape)
    gm = (wm[0] + 4, *wm[1:])  # 27 mm from the centre
    assert abs(turn[wm]) == pytest.approx(0, abs=1e-3)  # short T1: recovered beyond the null
    assert abs(turn[gm]) == pytest.approx(np.pi, abs=1e-3)  # long T1: still inverted


def test_the_receive_field_shades_the_inversions_and_not_the_uniform_image(make_scanner):
    plain, shaded = (by_name(anat.mp2rage(make_scanner({"receive_field_strength": s}))) for s in (0, 0.4))
    inside = plain["mp2rage_INV2"].data > 100
    ratio = shaded["mp2rage_INV2"].data[inside] / plain["mp2rage_INV2"].data[inside]
    assert np.ptp(ratio) > 0.05
    assert shaded["mp2rage_UNI"].data[inside] == pytest.approx(plain["mp2rage_UNI"].data[inside], rel=1e-3)


def test_the_t1w_image_orders_the_tissues(make_scanner):
    data = by_name(anat.mprage(make_scanner()))["t1w_mprage"].data
    line = data[data.shape[0] // 2 :, data.shape[1] // 2, data.shape[2] // 2]
    wm, gm, csf = line[0], line[4], line.min()
    assert wm > 1.2 * gm > 1.2 * csf


def test_truth_is_on_the_grid_of_the_t1w_image(make_scanner):
    scan = anat.mprage(make_scanner())
    names = {image.entities.get("label", image.entities.get("desc")) for image in scan.images}
    assert names == {"CSF", "GM", "WM", "lesion", "brain"}
    total = sum(image.data for image in scan.images if "label" in image.entities)
    mask = next(image.data for image in scan.images if image.suffix == "mask")
    assert np.array_equal(mask > 0, total > 0.5)
    assert all(np.array_equal(image.affine, scan.series[0].affine) for image in scan.images)


def test_noise_has_the_asked_ratio(make_scanner):
    scan = anat.mprage(make_scanner({"noise": {"enabled": True}, "anat": {"snr": 25.0}}))
    still = anat.mprage(make_scanner())
    sigma = scan.parameters["t1w_mprage"]["noise_sigma"]
    assert sigma == pytest.approx(middle(still.series[0].data) / 25, rel=1e-2)
