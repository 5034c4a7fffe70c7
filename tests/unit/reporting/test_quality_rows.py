"""Quality figures beside the ranges that deserve trust."""

import numpy as np
import pytest

from scan2map.reporting.subject_page import trust_verdict


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
