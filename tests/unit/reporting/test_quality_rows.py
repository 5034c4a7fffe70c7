"""Quality figures beside the ranges that deserve trust."""

import numpy as np
import pytest

from scan2map.reporting.numbers import Check
from scan2map.reporting.states import ModalityState
from scan2map.reporting.subject_page import traffic_light, trust_verdict


@pytest.mark.parametrize(
    ("value", "trusted", "verdict"),
    [
        (0.6, "0.5 to 1", "inside"),
        (0.1, "0.5 to 1", "outside"),
        (2.0, "0.5 to 1", "outside"),
        (12.0, "above 10", "inside"),
        (9.9, "above 10", "outside"),
        (-0.5, "-1 to 0", "inside"),
        (3.0, "", ""),
        (3.0, "as in the paper", ""),
        (np.nan, "0 to 1", ""),
    ],
)
def test_trusted_ranges_are_read(value, trusted, verdict):
    assert trust_verdict(value, trusted) == verdict


@pytest.mark.parametrize(
    ("status", "verdict", "kind", "words"),
    [
        ("runs", "inside", "good", "every figure lies in its range"),
        ("runs", "outside", "look", "Look twice"),
        ("incomplete", "inside", "look", "Missing: Perfusion"),
        ("failed", "outside", "bad", "Failed: Perfusion"),
    ],
)
def test_the_light_is_as_bad_as_the_worst(status, verdict, kind, words):
    states = [ModalityState("anat", "runs"), ModalityState("asl", status)]
    check = Check("CBF in GM", "9", "30 to 100", verdict, "")
    light = traffic_light(states, [check], [{"verdict": "inside"}])
    assert light.kind == kind
    assert words in light.words
    assert bool(light.links) == (verdict == "outside")
