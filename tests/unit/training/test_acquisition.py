"""Demands of a package against what a session is."""

import pytest

from scan2map.errors import DataError
from scan2map.training.acquisition import check_acquisition, fits, words


@pytest.mark.parametrize(
    ("found", "demand", "verdict"),
    [
        (2, {"equals": 2}, True),
        (3, {"equals": 2}, False),
        ("PCASL", {"equals": "PCASL"}, True),
        ("PASL", {"equals": "PCASL"}, False),
        ([0.5, 1.0], {"equals": [0.5, 1.0]}, True),
        ([0.5, 1.0005], {"equals": [0.5, 1.0]}, True),
        ([0.5, 1.1], {"equals": [0.5, 1.0], "tolerance": 0.2}, True),
        ([0.5], {"equals": [0.5, 1.0]}, False),
        (None, {"minimum": 0}, False),
        ([1, 4], {"minimum": 0, "maximum": 3}, False),
        ([1, 3], {"minimum": 0, "maximum": 3}, True),
        ([], {"minimum": 0}, False),
        ("3D", {"one_of": ["2D", "3D"]}, True),
        ("4D", {"one_of": ["2D", "3D"]}, False),
    ],
)
def test_demands(found, demand, verdict):
    assert fits(found, demand) is verdict


def test_every_difference_is_named_with_found_and_wanted():
    demands = {
        "delays_s": {"minimum": 0.5, "maximum": 3.0, "unit": "s"},
        "type": {"equals": "PCASL"},
        "ok": {"equals": 1},
    }
    with pytest.raises(DataError) as caught:
        check_acquisition(demands, {"delays_s": [0.2, 1], "ok": 1}, "toy@1")
    text = str(caught.value)
    assert "delays_s = [0.2, 1]" in text
    assert "delays_s = 0.5 to 3 s" in text
    assert "type = not known" in text
    assert "ok =" not in text


def test_numbers_are_written_with_the_digits_that_matter():
    assert words({"minimum": 0.3915046874999999, "maximum": 3, "unit": "s"}) == "0.391505 to 3 s"
    assert words({"one_of": ["2D", "3D"]}) == "one of 2D, 3D"
    assert words({"equals": [0.1 + 0.2, 1]}) == "[0.3, 1]"
