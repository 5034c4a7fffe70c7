"""Volume types and delays of ASL series, from whatever tells them."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from scan2map.bids.asl_metadata import asl_fields, expand_pattern, volume_types
from scan2map.errors import DataError


@dataclass
class FakeSeries:
    contexts: list
    comments: list = field(default_factory=list)

    @property
    def volume_frames(self):
        return [SimpleNamespace(asl_context=context) for context in self.contexts]

    @property
    def volume_comments(self):
        return self.comments


COMMENTS = ["M0scan PLD 0 ms", "label PLD 500 ms", "control PLD 500 ms", "label PLD 1500 ms", "control PLD 1500 ms"]
TEMPLATE = {"_volume_comment": "{context} PLD {delay_ms} ms"}


@pytest.mark.parametrize(
    ("pattern", "volumes", "expected"),
    [
        ("(control label)", 4, ["control", "label"] * 2),
        ("m0scan (label control)", 5, ["m0scan", "label", "control", "label", "control"]),
        ("m0scan, (label, control)", 3, ["m0scan", "label", "control"]),
        ("control label", 2, ["control", "label"]),
    ],
)
def test_patterns(pattern, volumes, expected):
    assert expand_pattern(pattern, volumes) == expected


@pytest.mark.parametrize(("pattern", "volumes"), [("(control label)", 5), ("control", 2), ("(control tag)", 4)])
def test_a_pattern_that_does_not_fit_is_refused(pattern, volumes):
    with pytest.raises(DataError, match="order of volumes"):
        expand_pattern(pattern, volumes)


def test_the_dicom_context_wins():
    series = FakeSeries(["M_ZERO_SCAN", "LABEL", "CONTROL"], ["control PLD 1 ms"] * 3)
    assert volume_types(series, TEMPLATE) == ["m0scan", "label", "control"]


def test_comments_come_before_the_pattern():
    series = FakeSeries([None] * 5, COMMENTS)
    expected = ["m0scan", "label", "control", "label", "control"]
    assert volume_types(series, {**TEMPLATE, "_volume_pattern": "(control label)"}) == expected


def test_without_any_source_the_order_is_not_guessed():
    with pytest.raises(DataError, match="_volume_pattern"):
        volume_types(FakeSeries([None] * 4, [""] * 4), {})
    with pytest.raises(DataError):
        volume_types(FakeSeries([None] * 4, ["something else"] * 4), TEMPLATE)


def test_delays_are_listed_per_volume_with_zero_for_the_m0():
    fields = asl_fields(FakeSeries([None] * 5, COMMENTS), TEMPLATE, {}, has_m0scan=True)
    assert fields["PostLabelingDelay"] == [0.0, 0.5, 0.5, 1.5, 1.5]
    assert (fields["M0Type"], fields["TotalAcquiredPairs"]) == ("Included", 2)


def test_one_delay_is_one_number():
    series = FakeSeries([None] * 2, ["control PLD 1800 ms", "label PLD 1800 ms"])
    assert asl_fields(series, TEMPLATE, {}, has_m0scan=False) == {
        "M0Type": "Absent",
        "TotalAcquiredPairs": 1,
        "PostLabelingDelay": 1.8,
    }


def test_differences_of_a_scanner_count_as_pairs():
    series = FakeSeries([None] * 3, [""] * 3)
    pattern = {"_volume_pattern": "m0scan (deltam)"}
    assert asl_fields(series, pattern, {}, has_m0scan=False) == {"M0Type": "Included", "TotalAcquiredPairs": 2}


def test_dummy_volumes_have_no_delay():
    comments = ["control PLD 0 ms", "label PLD 900 ms", "control PLD 900 ms"]
    series = FakeSeries(["M_ZERO_SCAN", "LABEL", "CONTROL"], comments)
    assert asl_fields(series, TEMPLATE, {}, has_m0scan=False)["PostLabelingDelay"] == 0.9


def test_delays_are_left_to_the_converter_where_no_comment_tells_them():
    fields = asl_fields(FakeSeries(["CONTROL", "LABEL"], ["", ""]), {}, {"M0Type": "Estimate"}, has_m0scan=True)
    assert fields == {"M0Type": "Estimate", "TotalAcquiredPairs": 1}
